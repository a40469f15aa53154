"""Images as files: an OCI layout directory, an OCI archive, what `docker save` and `podman save` write.

All of them become the same layout. Names inside an archive are looked up in a table, never on disk, and inside a
directory no symbolic link is followed, so what is read is what was handed in.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from schema.images.reference import ImageReference
from schema.kernel.errors import HarborGuardError
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.compression import BLOCK, MAGIC_SIZE, packing, unpack
from workers.oci.layers import verify_diff_id
from workers.oci.layout import Image, Layout, read_diff_ids
from workers.oci.limits import Budget, ImageLimits, exceeded
from workers.oci.manifests import (
    CONFIG_OCI,
    LAYER_OCI,
    MANIFEST_OCI,
    Descriptor,
    Manifest,
    answer,
    choose_manifest,
    expect_list,
    expect_object,
    invalid_image,
    parse_json,
)
from workers.oci.tar import EntryKind, TarReader

_INDEX, _LAYOUT, _DOCKER = "index.json", "oci-layout", "manifest.json"
# Annotations that name an image: what containerd writes holds the registry, the standard one often only a tag.
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_LISTED = 20  # names in a message
_NAME_COST = 250  # bytes of memory beside the name itself
_NAME = re.compile(r"[!-~]{1,400}")  # of an image, and of a file manifest.json refers to


def open_source(
    path: Path, destination: Path, *, platform: str | None, limits: ImageLimits, reference: str | None = None
) -> Image:
    """Copies one image from a layout directory or an archive, compressed or not, into a new layout at `destination`.

    Where several are in it, `reference` says which: a name the archive states, in full or without the registry that goes
    without saying. `Image.names` are the names the archive states for the image. `platform` as for `choose_manifest`.
    Raises ScanFailure: IMAGE_NOT_FOUND (no such file, no or no single image of that name), IMAGE_INVALID,
    DIGEST_MISMATCH, UNSAFE_ARCHIVE, LIMIT_EXCEEDED, PLATFORM_NOT_FOUND. Nothing is written outside `destination`.
    """
    layout = Layout.create(destination, limits)
    with _open(path, destination, limits) as source:
        if source.size(_INDEX) is not None and source.size(_LAYOUT) is not None:
            return _copy_oci(source, layout, platform=platform, reference=reference)
        if source.size(_DOCKER) is not None:
            return _copy_docker(source, layout, platform=platform, reference=reference)
    raise invalid_image("it is neither an OCI layout nor an archive of one, nor one that `docker save` wrote")


class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class _Source(Protocol):
    def size(self, name: str) -> int | None:
        """Bytes of the regular file of that name, None where there is none."""

    def open(self, name: str) -> _Stream:
        """IMAGE_INVALID where there is none."""


class _DirectorySource:
    """A layout directory. Every part of a name is opened from the one above it, and none may be a link."""

    def __init__(self, root: int) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        try:
            handle = self._open(name)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def open(self, name: str) -> _Stream:
        try:
            return os.fdopen(self._open(name), "rb")
        except FileNotFoundError:
            raise _missing(name) from None

    def _open(self, name: str) -> int:
        *directories, last = name.split("/")
        at = os.dup(self._root)
        try:
            for each in directories:
                below = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            # Not to wait for the other end of a fifo.
            handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                raise _unsafe(name) from None
            raise invalid_image(f"{name[:200]} cannot be opened") from None
        finally:
            os.close(at)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise _unsafe(name)
        return handle


class _TarSource:
    """A tar that can be sought in, read once for its table of contents."""

    def __init__(self, file: IO[bytes], limits: ImageLimits) -> None:
        self._file = file
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        total = file.seek(0, io.SEEK_END)
        file.seek(0)
        # A layer in here is a file, which may be as large as all an image unpacks to.
        budget = Budget(replace(limits, file_bytes=limits.total_bytes))
        reader = TarReader(iter(lambda: file.read(BLOCK), b""), budget, skip=self._skip, absolute=False)
        for kind, name, link, size, _ in reader:
            self._members.pop(name, None)
            self._links.pop(name, None)
            if kind is EntryKind.FILE:
                if reader.position + size > total:
                    raise invalid_image("the archive is cut off")
                self._members[name] = (reader.position, size)
            elif kind is EntryKind.SYMLINK:
                self._links[name] = _link_target(name, link)
            elif kind is EntryKind.HARDLINK:
                self._links[name] = link
            budget.hold(_NAME_COST + len(name) + len(link))

    def _skip(self, count: int) -> None:
        self._file.seek(count, io.SEEK_CUR)

    def size(self, name: str) -> int | None:
        found = self._find(name)
        return found[1] if found is not None else None

    def open(self, name: str) -> _Stream:
        found = self._find(name)
        if found is None:
            raise _missing(name)
        return _Part(self._file, *found)

    def _find(self, name: str) -> tuple[int, int] | None:
        """Docker before version 25 wrote a layer that came twice as a link to the first, one step away."""
        return self._members.get(self._links.get(name, name))


class _Part:
    """A member of an archive as a stream of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._at, self._end = start, start + size

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def close(self) -> None:
        """The archive stays open for its other members."""


@contextmanager
def _open(path: Path, scratch: Path, limits: ImageLimits) -> Iterator[_Source]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        raise ScanFailure(FailureCode.IMAGE_NOT_FOUND, "There is no archive or layout that can be opened") from None
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        try:
            yield _DirectorySource(handle)
        finally:
            os.close(handle)
        return
    with ExitStack() as files:
        file: IO[bytes] = files.enter_context(os.fdopen(handle, "rb"))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise invalid_image("it is neither a directory nor a regular file")
        for _ in range(limits.nesting):
            magic = file.read(MAGIC_SIZE)
            file.seek(0)
            if packing(magic) is None:
                yield _TarSource(file, limits)
                return
            spool = files.enter_context(tempfile.TemporaryFile(dir=scratch))
            _spool(file, spool, limits)
            file = spool
        raise exceeded("The archive is packed more often", limits.nesting - 1, "times")


def _spool(file: IO[bytes], spool: IO[bytes], limits: ImageLimits) -> None:
    """Unpacks an archive into a file without a name, which is gone when it is closed."""
    size = 0
    for block in unpack(file, limits):
        size += len(block)
        if size > limits.total_bytes:
            raise exceeded("The archive unpacks to more", limits.total_bytes, "bytes")
        spool.write(block)
    spool.seek(0)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One image an archive lists: its entry as written, what makes it the same image as another, and its names."""

    document: dict[str, Any]
    identity: str
    names: tuple[str, ...]


def _copy_oci(source: _Source, layout: Layout, *, platform: str | None, reference: str | None) -> Image:
    limits = layout.limits

    def available(digest: str) -> bool:
        return source.size(_blob(digest)) is not None

    index = expect_object(parse_json(_read(source, _INDEX, limits.manifest_bytes), limits), _INDEX)
    listed: list[_Candidate] = []
    for entry in expect_list(index.get("manifests"), "the list of manifests"):
        descriptor = Descriptor.parse(entry, "an image of the layout")
        if available(descriptor.digest) and not descriptor.is_attestation:
            names = (descriptor.annotations.get(key, "") for key in _NAMES)
            listed.append(_Candidate(entry, descriptor.digest, _presentable(next(filter(None, names), None))))
    chosen = _choose(listed, reference)
    # As an index of one image or, where one name stands for several platforms, of a few.
    once = {candidate.identity: candidate.document for candidate in chosen}
    search = choose_manifest(
        orjson.dumps({"schemaVersion": 2, "manifests": list(once.values())}),
        platform=platform,
        limits=limits,
        available=available,
    )
    manifest = answer(search, lambda wanted: _read(source, _blob(wanted.digest), wanted.size))
    for part in {each.digest: each for each in (manifest.config, *manifest.layers)}.values():
        _copy_blob(source, _blob(part.digest), layout, digest=part.digest, size=part.size)
    return layout.write_manifest(manifest, platform=platform, names=_all_names(chosen))


def _copy_docker(source: _Source, layout: Layout, *, platform: str | None, reference: str | None) -> Image:
    limits = layout.limits
    listed: list[_Candidate] = []
    for each in expect_list(parse_json(_read(source, _DOCKER, limits.manifest_bytes), limits), _DOCKER):
        entry = expect_object(each, "an image of manifest.json")
        tags = entry.get("RepoTags")
        listed.append(
            _Candidate(entry, repr(entry.get("Config")), _presentable(*tags if isinstance(tags, list) else ()))
        )
    chosen = _choose(listed, reference)
    if len({candidate.identity for candidate in chosen}) > 1:
        raise _ambiguous(listed)
    entry = chosen[0].document
    config = _read(source, _member(entry.get("Config")), limits.manifest_bytes)
    diff_ids = read_diff_ids(expect_object(parse_json(config, limits), "the config"))
    members = [_member(each) for each in expect_list(entry.get("Layers") or [], "the list of layers")]
    if len(members) > limits.layers:
        raise exceeded("The image has more", limits.layers, "layers")
    if len(members) != len(diff_ids):
        raise invalid_image(f"its config knows {len(diff_ids)} layers, its archive {len(members)}")
    budget = Budget(limits)
    stored = {
        pair: _store_layer(source, layout, *pair, budget) for pair in dict.fromkeys(zip(members, diff_ids, strict=True))
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_OCI,
        "config": {"mediaType": CONFIG_OCI, "digest": layout.add_blob(config), "size": len(config)},
        "layers": [stored[pair] for pair in zip(members, diff_ids, strict=True)],
    }
    parsed = Manifest.parse(orjson.dumps(manifest), limits)
    return layout.write_manifest(parsed, platform=platform, names=_all_names(chosen))


def _store_layer(source: _Source, layout: Layout, member: str, diff_id: str, budget: Budget) -> dict[str, Any]:
    """Copies a layer as it is stored and verifies what it unpacks to. Returns its descriptor."""
    with closing(source.open(member)) as stream:
        packed = packing(stream.read(MAGIC_SIZE))
    digest, size = _copy_blob(source, member, layout)
    if digest != diff_id:  # packed, or not what it should be, which this tells
        verify_diff_id(layout, digest, diff_id=diff_id, budget=budget)
    return {"mediaType": f"{LAYER_OCI}+{packed}" if packed else LAYER_OCI, "digest": digest, "size": size}


def _copy_blob(
    source: _Source, name: str, layout: Layout, *, digest: str | None = None, size: int | None = None
) -> tuple[str, int]:
    with layout.new_blob(digest, size=size) as blob, closing(source.open(name)) as stream:
        while chunk := stream.read(BLOCK):
            blob.write(chunk)
    return blob.digest, blob.written


def _read(source: _Source, name: str, limit: int) -> bytes:
    """At most one byte more than the limit, so that who looks at the size sees that it is over."""
    with closing(source.open(name)) as stream:
        return stream.read(limit + 1)


def _choose(listed: list[_Candidate], reference: str | None) -> list[_Candidate]:
    """Candidates for one image: several only where they have the same names, as one image for several platforms."""
    if not listed:
        raise ScanFailure(FailureCode.IMAGE_NOT_FOUND, "The archive holds no image")
    chosen = listed
    several = len({each.identity for each in listed}) > 1 and len({each.names for each in listed}) > 1
    if several and reference is not None:
        wanted = _canonical(reference)
        chosen = [each for each in listed if any(_canonical(name) == wanted for name in each.names)]
        if not chosen:
            raise ScanFailure(
                FailureCode.IMAGE_NOT_FOUND, f"The archive holds no image of that name, but {_name_list(listed)}"
            )
    elif several:
        raise _ambiguous(listed)
    return chosen


def _canonical(name: str) -> str:
    """`nginx` and `docker.io/library/nginx:latest` are one name; what is no reference, like a bare tag, is itself."""
    try:
        return str(ImageReference.parse(name).with_defaults())
    except HarborGuardError:
        return name


def _presentable(*names: object) -> tuple[str, ...]:
    """Names as an archive states them, without those that cannot be one."""
    return tuple(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))


def _all_names(chosen: list[_Candidate]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in chosen for name in each.names))


def _name_list(listed: list[_Candidate]) -> str:
    names = sorted({name for each in listed for name in each.names})
    if any(not each.names for each in listed):
        names.append("one without a name")
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _ambiguous(listed: list[_Candidate]) -> ScanFailure:
    return ScanFailure(
        FailureCode.IMAGE_NOT_FOUND, f"The archive holds several images; name the one to scan: {_name_list(listed)}"
    )


def _blob(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def _member(value: object) -> str:
    """A name manifest.json refers to, which is looked up as it stands."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.startswith("/") or ".." in value.split("/"):
        raise invalid_image("manifest.json names a file with something that is no name inside the archive")
    return value


def _link_target(name: str, link: str) -> str:
    """Where a link inside an archive leads, by name alone. UNSAFE_ARCHIVE where that is outside."""
    parts = name.split("/")[:-1]
    for part in link.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or link.startswith("/"):
            raise _unsafe(name)
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _missing(name: str) -> ScanFailure:
    return invalid_image(f"{name[:200]} is missing from the archive or layout")


def _unsafe(name: str) -> ScanFailure:
    return ScanFailure(
        FailureCode.UNSAFE_ARCHIVE, f"{name[:200]} is not a regular file of the archive or layout, or leads out of it"
    )
