"""One image on disk: an OCI image layout that holds exactly one manifest, and what that image says of itself.

Everything is written under the digest of its bytes, after they were checked, so a blob that can be seen is whole.
Names in the layout come from digests only; nothing an image says becomes part of a path.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from workers.oci.limits import ImageLimits, exceeded
from workers.oci.manifests import (
    DIGEST_PATTERN,
    INDEX_OCI,
    Descriptor,
    Manifest,
    Platform,
    expect_list,
    expect_object,
    invalid_image,
    mismatch,
    parse_json,
    platform_not_found,
    platform_of,
    storable,
    text_values,
)

_LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_ALGORITHMS = ("sha256", "sha512")
_UNKNOWN = Platform(os="unknown", architecture="unknown")
_SUMMARY_TEXT = 4096  # characters kept of one text, and entries kept of one list, in a summary
_SUMMARY_ENTRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer as manifest, config and history describe it. `index` 0 is the lowest, `size` in bytes as stored."""

    index: int
    digest: str
    diff_id: str
    media_type: str
    size: int
    created_by: str  # the command of its history entry, "" where the history is silent


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    created: str
    created_by: str
    comment: str
    layer_index: int | None  # None for a step that changed only the config


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a layout. All of it was written by somebody else: checked for types and sizes, not for truth."""

    layout: Path
    digest: str  # of the manifest
    media_type: str
    config_digest: str
    config: Mapping[str, Any]  # the whole configuration document
    platform: str  # "linux/amd64", "unknown/unknown" where the config does not say
    created: str  # RFC 3339, "" where the config does not say
    labels: Mapping[str, str]
    layers: tuple[ImageLayer, ...]  # lowest first
    history: tuple[HistoryEntry, ...]
    names: tuple[str, ...] = ()  # references the archive itself states, as it spells them

    @property
    def size_bytes(self) -> int:
        """What a registry would send: layers as stored. Layers used twice count twice."""
        return sum(layer.size for layer in self.layers)

    @property
    def summary(self) -> dict[str, Any]:
        """What is worth keeping of the configuration. Of the environment only the names: values may be secrets."""
        about = _object(self.config.get("config"))
        return {
            "created": self.created,
            "user": _text(about.get("User"))[:_SUMMARY_TEXT],
            "workingDirectory": _text(about.get("WorkingDir"))[:_SUMMARY_TEXT],
            "entrypoint": _texts(about.get("Entrypoint")),
            "command": _texts(about.get("Cmd")),
            "environment": [variable.partition("=")[0] for variable in _texts(about.get("Env"))],
            "exposedPorts": _texts(list(_object(about.get("ExposedPorts")))),
            "volumes": _texts(list(_object(about.get("Volumes")))),
            "labels": {
                key[:_SUMMARY_TEXT]: value[:_SUMMARY_TEXT]
                for key, value in list(self.labels.items())[:_SUMMARY_ENTRIES]
            },
        }


class Layout:
    """The layout directory while it is filled: blobs in any order, from several threads, then the manifest.

    layout = Layout.create(directory, limits)
    with layout.new_blob(descriptor.digest, size=descriptor.size) as blob:
        async for chunk in response.aiter_bytes():
            blob.write(chunk)
    image = layout.write_manifest(manifest)
    """

    def __init__(self, root: Path, limits: ImageLimits) -> None:
        self.root = root
        self.limits = limits
        self._lock = threading.Lock()
        self._stored = 0

    @classmethod
    def create(cls, root: Path, limits: ImageLimits) -> Self:
        """In a directory that is new or empty."""
        for algorithm in _ALGORITHMS:
            (root / "blobs" / algorithm).mkdir(parents=True, exist_ok=True)
        return cls(root, limits)

    def new_blob(self, digest: str | None = None, *, size: int | None = None) -> BlobWriter:
        """A blob to write, in a `with` block: it appears when the block ends well, and only if digest and size hold.

        Without a digest the blob is named by the sha256 it turns out to have; `BlobWriter.digest` tells it.
        """
        if digest is not None:
            _check_digest(digest)
        return BlobWriter(self, digest, size=size)

    def add_blob(self, data: bytes, digest: str | None = None) -> str:
        with self.new_blob(digest) as blob:
            blob.write(data)
        return blob.digest

    def has_blob(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def open_blob(self, digest: str) -> BinaryIO:
        """IMAGE_INVALID when it is not there. The bytes were verified when they were written."""
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            raise invalid_image(f"{digest} is missing") from None

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """A manifest or config: verified again, and LIMIT_EXCEEDED where it is larger than one may be."""
        if descriptor.size > self.limits.manifest_bytes:
            raise exceeded("A manifest or config is larger", self.limits.manifest_bytes, "bytes")
        with self.open_blob(descriptor.digest) as blob:
            data = blob.read(descriptor.size + 1)
        descriptor.verify(data)
        return data

    def write_manifest(self, manifest: Manifest, *, platform: str | None = None, names: tuple[str, ...] = ()) -> Image:
        """Completes the layout; config and layers must be there. Returns the image.

        `platform` is what was asked for: an image that says it is for another one is PLATFORM_NOT_FOUND.
        """
        image = self._describe(manifest, names)
        says = platform_of(image.config)
        if platform is not None and says is not None and not says.satisfies(wanted := Platform.parse(platform)):
            raise platform_not_found(wanted, [says])
        self.add_blob(manifest.raw, manifest.digest)
        descriptor: dict[str, Any] = {
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": len(manifest.raw),
        }
        if says is not None:
            descriptor["platform"] = {"os": says.os, "architecture": says.architecture} | (
                {"variant": says.variant} if says.variant else {}
            )
        index = orjson.dumps({"schemaVersion": 2, "mediaType": INDEX_OCI, "manifests": [descriptor]})
        (self.root / "oci-layout").write_bytes(_LAYOUT_VERSION)
        (self.root / "index.json").write_bytes(index)
        return image

    def read_image(self) -> Image:
        """The one image of a finished layout."""
        try:
            with (self.root / "index.json").open("rb") as file:
                raw = file.read(self.limits.manifest_bytes + 1)
        except FileNotFoundError:
            raise invalid_image("the layout has no index.json") from None
        listed = expect_list(
            expect_object(parse_json(raw, self.limits), "index.json").get("manifests"), "the manifests"
        )
        if len(listed) != 1:
            raise invalid_image("the layout does not hold exactly one manifest")
        data = self.read_blob(Descriptor.parse(listed[0], "the manifest"))
        return self._describe(Manifest.parse(data, self.limits), ())

    def _describe(self, manifest: Manifest, names: tuple[str, ...]) -> Image:
        for descriptor in manifest.layers:
            if not self.has_blob(descriptor.digest) or self._path(descriptor.digest).stat().st_size != descriptor.size:
                raise invalid_image(f"{descriptor.digest} is missing or not complete")
        config = expect_object(parse_json(self.read_blob(manifest.config), self.limits), "the config")
        diff_ids = read_diff_ids(config)
        if len(diff_ids) != len(manifest.layers):
            raise invalid_image(f"its config knows {len(diff_ids)} layers, its manifest {len(manifest.layers)}")
        history = _history(config, len(manifest.layers))
        commands = {entry.layer_index: entry.created_by for entry in history}
        return Image(
            layout=self.root,
            digest=manifest.digest,
            media_type=manifest.media_type,
            config_digest=manifest.config.digest,
            config=config,
            platform=str(platform_of(config) or _UNKNOWN),
            created=_text(config.get("created")),
            labels=text_values(_object(config.get("config")).get("Labels")),
            layers=tuple(
                ImageLayer(
                    index=index,
                    digest=descriptor.digest,
                    diff_id=diff_id,
                    media_type=descriptor.media_type,
                    size=descriptor.size,
                    created_by=commands.get(index, ""),
                )
                for index, (descriptor, diff_id) in enumerate(zip(manifest.layers, diff_ids, strict=True))
            ),
            history=history,
            names=names,
        )

    def _path(self, digest: str) -> Path:
        algorithm, encoded = _check_digest(digest)
        return self.root / "blobs" / algorithm / encoded

    def _count(self, size: int) -> None:
        with self._lock:
            self._stored += size
        if self._stored > self.limits.total_bytes:
            raise exceeded("The image is larger", self.limits.total_bytes, "bytes")


class BlobWriter:
    """A blob that is being written. `write` hashes as it goes; what was written of a failed blob is removed."""

    def __init__(self, layout: Layout, digest: str | None, *, size: int | None) -> None:
        self._layout = layout
        self._expected = digest
        self._size = size
        self._algorithm = digest.partition(":")[0] if digest is not None else _ALGORITHMS[0]
        self._hash = hashlib.new(self._algorithm)
        self.written = 0

    def __enter__(self) -> Self:
        handle, name = tempfile.mkstemp(prefix="partial-", dir=self._layout.root)
        self._partial = Path(name)
        os.fchmod(handle, 0o644)  # engines run as another user
        self._file = os.fdopen(handle, "wb")
        return self

    def write(self, chunk: bytes | memoryview) -> None:
        """DIGEST_MISMATCH as soon as there are more bytes than announced, LIMIT_EXCEEDED for the whole image."""
        self.written += len(chunk)
        if self._size is not None and self.written > self._size:
            raise mismatch(self.digest)
        self._layout._count(len(chunk))  # noqa: SLF001 -- the writer is a part of the layout
        self._hash.update(chunk)
        self._file.write(chunk)

    @property
    def digest(self) -> str:
        """The digest announced, else that of what was written so far."""
        return self._expected or f"{self._algorithm}:{self._hash.hexdigest()}"

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._commit()
        finally:
            self._partial.unlink(missing_ok=True)

    def _commit(self) -> None:
        actual = f"{self._algorithm}:{self._hash.hexdigest()}"
        if actual != self.digest or (self._size is not None and self.written != self._size):
            raise mismatch(self.digest)
        self._partial.replace(self._layout._path(actual))  # noqa: SLF001 -- as above


def read_image(root: Path, limits: ImageLimits) -> Image:
    """The one image of a finished layout. Raises ScanFailure, IMAGE_INVALID for what is no such layout."""
    return Layout(root, limits).read_image()


def read_diff_ids(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The digests of the uncompressed layers, lowest first."""
    root = expect_object(config.get("rootfs"), "the config's rootfs")
    listed = expect_list(root.get("diff_ids") or [], "the config's list of layers")
    if not all(isinstance(each, str) and DIGEST_PATTERN.fullmatch(each) for each in listed):
        raise invalid_image("its config names a layer with something that is not a digest")
    return tuple(listed)


def _history(config: Mapping[str, Any], layers: int) -> tuple[HistoryEntry, ...]:
    """The history, mapped to layers where it has as many steps that made one as there are layers, else to none."""
    listed = config.get("history")
    steps = [step for step in listed if isinstance(step, dict)] if isinstance(listed, list) else []
    made = [step for step in steps if step.get("empty_layer") is not True]
    entries, index = [], 0
    for step in steps:
        makes = step.get("empty_layer") is not True
        entries.append(
            HistoryEntry(
                created=_text(step.get("created")),
                created_by=_text(step.get("created_by")),
                comment=_text(step.get("comment")),
                layer_index=index if makes and len(made) == layers else None,
            )
        )
        index += makes
    return tuple(entries)


def _check_digest(digest: str) -> tuple[str, str]:
    if not DIGEST_PATTERN.fullmatch(digest):
        raise invalid_image("a digest is not sha256 or sha512 in lower-case hexadecimal digits")
    algorithm, _, encoded = digest.partition(":")
    return algorithm, encoded


def _text(value: object) -> str:
    return storable(value) if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    """The texts of a list, shortened; a command may also stand as one text."""
    if isinstance(value, str):
        return [storable(value[:_SUMMARY_TEXT])]
    listed = value if isinstance(value, list) else []
    return [storable(each[:_SUMMARY_TEXT]) for each in listed if isinstance(each, str)][:_SUMMARY_ENTRIES]


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
