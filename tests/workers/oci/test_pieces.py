"""An entry's content in pieces, as those read it who keep only a part."""

from __future__ import annotations

import pytest

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import tar
from workers.oci.limits import Budget, ImageLimits
from workers.oci.tar import TarReader

CONTENT = bytes(range(256)) * 20


def reader(data: bytes, *, block: int = 1000, limits: ImageLimits | None = None) -> TarReader:
    blocks = (data[at : at + block] for at in range(0, len(data), block))
    return TarReader(blocks, Budget(limits or ImageLimits()))


@pytest.mark.parametrize("head", [0, 4, 3000, 10_000])
@pytest.mark.parametrize("block", [100, 512, 100_000])
def test_the_pieces_are_the_content(head: int, block: int) -> None:
    archive = reader(tar({"a": CONTENT, "b": b"", "c": b"next"}), block=block)
    read = {}
    for entry in archive:
        assert archive.head(head) == {"a": CONTENT, "b": b"", "c": b"next"}[entry.name][:head]
        read[entry.name] = b"".join(archive.pieces())
    assert read == {"a": CONTENT, "b": b"", "c": b"next"}


def test_what_is_not_read_to_its_end_is_passed_over() -> None:
    archive = reader(tar({"a": CONTENT, "b": b"next"}))
    assert [next(archive.pieces())[:4] for _ in archive] == [CONTENT[:4], b"next"]


def test_pieces_take_nothing_of_the_memory_allowed() -> None:
    archive = reader(tar({"a": CONTENT}), limits=ImageLimits(memory_bytes=10))
    assert [b"".join(archive.pieces()) for _ in archive] == [CONTENT]


def test_a_file_that_is_cut_off() -> None:
    archive = reader(tar({"a": CONTENT})[:2000])
    next(iter(archive))
    with pytest.raises(ScanFailure) as caught:
        list(archive.pieces())
    assert caught.value.code is FailureCode.IMAGE_INVALID
