"""Unpacking streams that may be bombs: bounded blocks out, a bounded ratio, bounded decoder memory.

The kind is told from the first bytes, as container runtimes do, because media types of real images are often wrong.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import KIB, ImageLimits, exceeded

BLOCK = 256 * KIB  # bytes handed out at once: small enough to stay in a processor's cache until they are read
_READ = 64 * KIB  # packed bytes read at once: what is fed in again for each member of a gzip stream
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte of 0x50 to 0x5f (RFC 8878, section 3.1.2)
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"LZIP": "lzip", b"\x04\x22\x4d\x18": "lz4"}
MAGIC_SIZE = 6
_GZIP_WINDOW = 31  # zlib's code for a gzip header and the largest window
_MEMBERS = 2_000_000  # gzip members of one stream; eStargz writes one or two for each file


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def packing(magic: bytes) -> str | None:
    """How a stream that starts with these bytes is compressed: "gzip", "zstd", or None where it is not.

    IMAGE_INVALID where it is in a way that is not read.
    """
    if magic.startswith(_GZIP):
        return "gzip"
    if magic.startswith(_ZSTD) or magic[1:4] == _ZSTD_SKIPPABLE:
        return "zstd"
    for prefix, name in _UNSUPPORTED.items():
        if magic.startswith(prefix):
            raise _damaged(f"is compressed with {name}; gzip, zstd and uncompressed archives can be read")
    return None


def unpack(source: Readable, limits: ImageLimits) -> Iterator[bytes]:
    """The bytes of a gzip, zstd or plain stream in blocks of at most BLOCK bytes.

    Raises ScanFailure: LIMIT_EXCEEDED for a ratio or window over the limits, IMAGE_INVALID for a damaged stream.
    """
    head = source.read(_READ)
    packed = _Packed(head, source)
    match packing(head[:MAGIC_SIZE]):
        case "gzip":
            return _bounded(_gunzip(packed), packed, limits)
        case "zstd":
            return _bounded(_unzstd(packed, head, limits), packed, limits)
        case _:
            return _plain(packed)


class _Packed:
    """The packed stream from its first byte on, counting what was read of it."""

    def __init__(self, head: bytes, source: Readable) -> None:
        self._head: bytes | None = head
        self._source = source
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data, self._head = (self._source.read(size), None) if self._head is None else (self._head, None)
        self.count += len(data)
        return data


def _plain(packed: _Packed) -> Iterator[bytes]:
    while block := packed.read(BLOCK):
        yield block


def _bounded(blocks: Iterator[bytes], packed: _Packed, limits: ImageLimits) -> Iterator[bytes]:
    count = 0
    for block in blocks:
        count += len(block)
        if count > limits.ratio_grace_bytes and count > packed.count * limits.ratio:
            raise exceeded("A compressed stream unpacks to more", limits.ratio, "times its size")
        yield block


def _gunzip(packed: _Packed) -> Iterator[bytes]:
    """Members one after the other, and zeros as padding behind the last (RFC 1952, section 2.2)."""
    inflate, members, inside = zlib.decompressobj(_GZIP_WINDOW), 0, False
    while data := packed.read(_READ):
        while data:
            if not inside:
                data = data.lstrip(b"\0") if members else data
                inside = bool(data)
            yield from _inflate(inflate, data)
            data = inflate.unused_data
            if inflate.eof:
                inflate, members, inside = zlib.decompressobj(_GZIP_WINDOW), members + 1, False
                if members > _MEMBERS:
                    raise exceeded("A compressed stream has more", _MEMBERS, "members")
    if inside:
        raise _damaged("ends in the middle of its compressed data")


def _inflate(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    block = b""
    try:
        while (data or len(block) == BLOCK) and not inflate.eof:
            block = inflate.decompress(data, BLOCK)
            data = inflate.unconsumed_tail
            if block:
                yield block
    except zlib.error:
        raise _damaged("has damaged gzip data") from None


def _unzstd(packed: _Packed, head: bytes, limits: ImageLimits) -> Iterator[bytes]:
    """Frames one after the other. The decoder does not tell a stream that was cut off: the digest behind it does."""
    try:
        if zstandard.get_frame_parameters(head).window_size > limits.zstd_window_bytes:
            raise exceeded("A zstd stream asks for a window of more", limits.zstd_window_bytes, "bytes")
        decoder = zstandard.ZstdDecompressor(max_window_size=limits.zstd_window_bytes)
        with decoder.stream_reader(packed, read_size=_READ, read_across_frames=True) as stream:  # type: ignore[arg-type]  # asks for read() only
            while block := stream.read(BLOCK):
                yield block
    except zstandard.ZstdError:
        raise _damaged("has damaged zstd data, or a later frame asks for too much memory") from None


def _damaged(problem: str) -> ScanFailure:
    return ScanFailure(FailureCode.IMAGE_INVALID, f"A layer or archive {problem}")
