"""How much of an untrusted image we are ready to read.

Every counter runs on bytes and entries actually read. What a header claims is used only to stop earlier.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from schema.scans.failures import FailureCode, ScanFailure

KIB, MIB, GIB = 1024, 1024**2, 1024**3
LINK_STEPS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Start values; an operator may change them. Sizes in bytes. One of them exceeded ends a scan LIMIT_EXCEEDED."""

    total_bytes: int = 20 * GIB  # blobs as stored, and separately what all layers unpack to
    file_bytes: int = 4 * GIB  # one file in a layer, sparse files counted in full
    memory_bytes: int = 256 * MIB  # contents kept, names kept and what the tree of names costs
    entries: int = 500_000  # headers of all layers, extended headers included
    header_bytes: int = 64 * MIB  # extended headers (PAX, GNU long names) of all layers
    path_bytes: int = 4096  # of one path or link target
    layers: int = 200
    manifest_bytes: int = 4 * MIB  # a manifest, an index or a config
    index_depth: int = 2  # indexes above a manifest
    nesting: int = 3  # archives within archives: a compressed archive, of an archive, of layers
    ratio: int = 200  # unpacked to packed
    ratio_grace_bytes: int = 64 * MIB  # unpacked bytes of one stream the ratio is not asked of: zeros pack 1000:1
    zstd_window_bytes: int = 32 * MIB  # the most a container build tool asks for, which zstd calls level 20


class Budget:
    """Counters shared by all layers of an image, which are read by several threads."""

    def __init__(self, limits: ImageLimits, *, held: int = 0) -> None:
        self.limits = limits
        self.held = held  # bytes of memory
        self._lock = threading.Lock()
        self._unpacked = 0
        self._entries = 0
        self._headers = 0
        self._steps = 0
        self._stopped = False

    def stop(self) -> None:
        """Makes readers that are still at work end soon: what they would find is not needed any more."""
        self._stopped = True

    def unpack(self, count: int) -> None:
        with self._lock:
            self._unpacked += count
        if self._stopped:
            raise ScanFailure(FailureCode.INTERRUPTED, "Reading the image was given up")
        if self._unpacked > self.limits.total_bytes:
            raise exceeded("The image unpacks to more", self.limits.total_bytes, "bytes")

    def hold(self, count: int) -> None:
        with self._lock:
            self.held += count
        if self.held > self.limits.memory_bytes:
            raise exceeded("The image's package files and names take more", self.limits.memory_bytes, "bytes of memory")

    def enter(self, count: int) -> None:
        with self._lock:
            self._entries += count
        if self._entries > self.limits.entries:
            raise exceeded("The image has more", self.limits.entries, "entries")

    def extend(self, count: int) -> None:
        with self._lock:
            self._headers += count
        if self._headers > self.limits.header_bytes:
            raise exceeded("The image has more", self.limits.header_bytes, "bytes of extended headers")

    def follow(self, steps: int) -> None:
        """Parts of symbolic links' targets, so that links which are long and many cost seconds, not hours."""
        with self._lock:
            self._steps += steps
        if self._steps > LINK_STEPS:
            raise exceeded("The image's symbolic links take more", LINK_STEPS, "steps to follow")


def exceeded(subject: str, limit: int, unit: str) -> ScanFailure:
    return ScanFailure(FailureCode.LIMIT_EXCEEDED, f"{subject} than {limit:,} {unit}, the most that is read")
