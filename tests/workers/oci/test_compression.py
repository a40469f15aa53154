"""Streams unpack to what went in, or end in a scan failure."""

from __future__ import annotations

import gzip
import io
import os
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import Compression, compress
from workers.oci.compression import BLOCK, packing, unpack
from workers.oci.limits import MIB, ImageLimits

LIMITS = ImageLimits()
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"


def unpacked(data: bytes, limits: ImageLimits = LIMITS) -> bytes:
    return b"".join(unpack(io.BytesIO(data), limits))


def failure(data: bytes, limits: ImageLimits = LIMITS) -> FailureCode:
    with pytest.raises(ScanFailure) as caught:
        unpacked(data, limits)
    return caught.value.code


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_round_trip(compression: Compression, size: int) -> None:
    data = os.urandom(size // 2) + bytes(size - size // 2)
    blocks = list(unpack(io.BytesIO(compress(data, compression)), LIMITS))
    assert b"".join(blocks) == data
    assert all(0 < len(block) <= BLOCK for block in blocks)


def test_gzip_members_follow_each_other() -> None:
    """eStargz writes one for each file, and block devices pad with zeros."""
    members = b"".join(gzip.compress(bytes([number]) * number) for number in range(200))
    expected = b"".join(bytes([number]) * number for number in range(200))
    assert unpacked(members) == expected
    assert unpacked(members + bytes(100_000)) == expected


def test_zstd_frames_follow_each_other() -> None:
    """zstd:chunked puts tables of contents into frames that are skipped."""
    first, second = compress(b"a" * 1000, "zstd"), compress(b"b" * 1000, "zstd")
    expected = b"a" * 1000 + b"b" * 1000
    for stream in (first + second, SKIPPABLE + first + second, first + SKIPPABLE + second + SKIPPABLE):
        assert unpacked(stream) == expected


def test_the_kind_is_told_from_the_bytes() -> None:
    assert packing(compress(b"", "gzip")) == "gzip"
    assert packing(compress(b"", "zstd")) == "zstd"
    assert packing(SKIPPABLE) == "zstd"
    assert packing(b"") is None
    assert packing(b"index.json") is None


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"data" * 100, mtime=0)[:-1],
        gzip.compress(b"data" * 100, mtime=0)[:12],
        gzip.compress(b"data" * 100, mtime=0)[:-8] + bytes(8),  # checksum and size
        gzip.compress(b"data", mtime=0) + b"junk",
        gzip.compress(b"data", mtime=0) + gzip.compress(b"data", mtime=0)[:5],
        b"\x1f\x8b",
        b"\x1f\x8b\x08" + b"\xff" * 30,
        compress(b"data" * 100, "zstd") + b"junk",
        b"\x28\xb5\x2f\xfd" + b"\xff" * 30,
        b"\x28\xb5\x2f\xfd",
        b"BZh91AY&SY",
        b"\xfd7zXZ\x00",
    ],
)
def test_t50_damaged_streams(data: bytes) -> None:
    assert failure(data) is FailureCode.IMAGE_INVALID


def test_t50_gzip_of_zeros() -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(MIB)) for _ in range(80)) + compressor.flush()
    assert failure(bomb) is FailureCode.LIMIT_EXCEEDED


def test_the_ratio_has_a_grace() -> None:
    zeros = compress(bytes(2 * MIB), "gzip")
    assert len(unpacked(zeros)) == 2 * MIB
    assert failure(zeros, ImageLimits(ratio_grace_bytes=MIB)) is FailureCode.LIMIT_EXCEEDED
    assert len(unpacked(zeros, ImageLimits(ratio_grace_bytes=MIB, ratio=2000))) == 2 * MIB


def test_t50_bombs_are_stopped_within_a_block() -> None:
    blocks = unpack(io.BytesIO(compress(bytes(40 * MIB), "zstd")), ImageLimits(ratio_grace_bytes=MIB))
    handed_out = [len(next(blocks)) for _ in range(MIB // BLOCK)]
    assert sum(handed_out) <= MIB
    with pytest.raises(ScanFailure):
        next(blocks)


def test_t50_zstd_window_bomb() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    wide = compressor.compress(b"data") + compressor.flush()
    assert failure(wide) is FailureCode.LIMIT_EXCEEDED
    assert unpacked(wide, ImageLimits(zstd_window_bytes=1 << 27)) == b"data"
    assert failure(compress(b"data", "zstd") + wide) is FailureCode.IMAGE_INVALID


def test_t50_endless_empty_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.oci.compression._MEMBERS", 1000)
    assert failure(gzip.compress(b"", mtime=0) * 1002) is FailureCode.LIMIT_EXCEEDED


@settings(deadline=None)
@given(
    data=st.binary(max_size=400),
    compression=st.sampled_from(["gzip", "zstd"]),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_mutated_streams_end_in_data_or_a_scan_failure(
    data: bytes, compression: Compression, changes: list[tuple[int, int]]
) -> None:
    packed = bytearray(compress(data, compression))
    for at, value in changes:
        packed[at % len(packed)] = value
    try:
        unpacked(bytes(packed))
    except ScanFailure as expected:
        assert expected.code in {FailureCode.IMAGE_INVALID, FailureCode.LIMIT_EXCEEDED}  # noqa: PT017 -- the only one allowed
