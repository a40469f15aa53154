"""Uploads: whole and on disk, or not there at all."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.blobs import DirectoryBlobStore
from schema.kernel.errors import ErrorCode, HarborGuardError


async def stream(*chunks: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_what_is_received_is_stored_and_measured(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path / "uploads")

    blob = await store.receive("org-1", stream(b"ab", b"", b"c"), max_bytes=3)

    assert store.path(blob.key).read_bytes() == b"abc"
    assert (blob.size_bytes, blob.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert blob.key.startswith("org-1/")
    assert store.path(blob.key).parent.stat().st_mode & 0o077 == 0
    assert files(tmp_path) == [store.path(blob.key)]


async def test_equal_uploads_are_two(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)

    first = await store.receive("org-1", stream(b"a"), max_bytes=1)
    second = await store.receive("org-1", stream(b"a"), max_bytes=1)
    await store.delete(first.key)

    assert files(tmp_path) == [store.path(second.key)]


async def test_too_much_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(HarborGuardError) as refused:
        await DirectoryBlobStore(tmp_path).receive("org-1", endless(), max_bytes=10_000)

    assert refused.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert files(tmp_path) == []


async def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await DirectoryBlobStore(tmp_path).receive("org-1", stream(b"a", error=ConnectionResetError()), max_bytes=10)

    assert files(tmp_path) == []


async def test_deleting_twice_is_fine(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)
    blob = await store.receive("org-1", stream(b"a"), max_bytes=1)

    await store.delete(blob.key)
    await store.delete(blob.key)

    assert files(tmp_path) == []
