"""Uploads on disk, under the data directory that all machines of an installation share."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ports import StoredBlob


class DirectoryBlobStore:
    """A blob becomes visible only when it is complete and on disk; a broken upload leaves nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def receive(self, organization_id: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> StoredBlob:
        key = f"{organization_id}/{secrets.token_hex(16)}"
        target = self._directory / key
        partial = target.with_suffix(".partial")
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        digest, size = hashlib.sha256(), 0
        try:
            with partial.open("xb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    _check(size, max_bytes)
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return StoredBlob(key=key, size_bytes=size, sha256=digest.hexdigest())

    def path(self, key: str) -> Path:
        return self._directory / key

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self.path(key).unlink, missing_ok=True)


def _check(size: int, most: int) -> None:
    if size > most:
        raise HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, f"The body is larger than {most} bytes")
