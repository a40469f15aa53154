"""Real OCI images, built in memory and written as a layout, an OCI archive or a `docker save` archive.

A layer is a mapping of path to entry, so a test reads like the filesystem it means:

    base = layer({"etc/os-release": b"ID=debian\\n", "lib": Symlink("usr/lib")}, created_by="ADD rootfs")
    top = layer({"etc/passwd": Whiteout(), "opt/app": Opaque()}, compression="zstd")
    write_layout(tmp_path, {"app:1": image(base, top)})

A registry simulator serves `Image.blobs` and `Index.blobs`: every blob by its digest, manifests included.
Equal input gives equal digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import zstandard

Compression = Literal["gzip", "zstd", "none"]

MANIFEST_OCI = "application/vnd.oci.image.manifest.v1+json"
MANIFEST_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_OCI = "application/vnd.oci.image.index.v1+json"
INDEX_DOCKER = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG_OCI = "application/vnd.oci.image.config.v1+json"
CONFIG_DOCKER = "application/vnd.docker.container.image.v1+json"
LAYER_OCI: dict[Compression, str] = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
LAYER_DOCKER: dict[Compression, str] = {
    "none": "application/vnd.docker.image.rootfs.diff.tar",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
}
CREATED = "2024-05-01T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Directory:
    pass


@dataclass(frozen=True, slots=True)
class Symlink:
    target: str


@dataclass(frozen=True, slots=True)
class Hardlink:
    target: str


@dataclass(frozen=True, slots=True)
class Whiteout:
    """Deletes the path it stands at: `{"etc/passwd": Whiteout()}` writes `etc/.wh.passwd`."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Hides what lower layers have in the directory it stands at."""


@dataclass(frozen=True, slots=True)
class Special:
    """An entry of any other tar type: a device, a fifo."""

    type: bytes = tarfile.CHRTYPE


@dataclass(frozen=True, slots=True)
class File:
    """A regular file with more than content: a mode such as 0o4755, extended attributes as PAX records."""

    content: bytes
    mode: int = 0o644
    pax: tuple[tuple[str, str], ...] = ()


Entry = bytes | File | Directory | Symlink | Hardlink | Whiteout | Opaque | Special
Files = Mapping[str, Entry] | Iterable[tuple[str, Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    tar: bytes
    blob: bytes  # the tar as stored, compressed or not
    compression: Compression
    created_by: str

    @property
    def digest(self) -> str:
        return digest_of(self.blob)

    @property
    def diff_id(self) -> str:
        return digest_of(self.tar)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes
    media_type: str
    platform: dict[str, str]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def descriptor(self) -> dict[str, Any]:
        return describe(self.manifest, self.media_type) | {"platform": self.platform}

    @property
    def blobs(self) -> dict[str, bytes]:
        """Everything the image consists of by digest: layers, config and the manifest itself."""
        return {digest_of(data): data for data in (*(each.blob for each in self.layers), self.config, self.manifest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    manifest: bytes
    media_type: str
    members: tuple[Image | Index, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def descriptor(self) -> dict[str, Any]:
        return describe(self.manifest, self.media_type)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Everything reachable from the index by digest, itself included."""
        blobs = {self.digest: self.manifest}
        for member in self.members:
            blobs |= member.blobs
        return blobs


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def describe(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


@overload
def tar(files: Mapping[str, Entry], *, style: int = ...) -> bytes: ...
@overload
def tar(files: Iterable[tuple[str, Entry]], *, style: int = ...) -> bytes: ...
def tar(files: Files, *, style: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed tar of the entries, in the order given; pairs instead of a mapping allow duplicate names."""
    buffer = io.BytesIO()
    pairs = files.items() if isinstance(files, Mapping) else files
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        for path, entry in pairs:
            member, content = _member(path, entry)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def compress(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, compresslevel=1, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(data)
    return data


@overload
def layer(files: Mapping[str, Entry], *, compression: Compression = ..., created_by: str = ...) -> Layer: ...
@overload
def layer(files: Files | bytes, *, compression: Compression = ..., created_by: str = ...) -> Layer: ...
def layer(files: Files | bytes, *, compression: Compression = "gzip", created_by: str = "") -> Layer:
    """A layer of entries, or of ready-made tar bytes."""
    data = files if isinstance(files, bytes) else tar(files)
    return Layer(tar=data, blob=compress(data, compression), compression=compression, created_by=created_by)


def image(
    *layers: Layer,
    platform: str = "linux/amd64",
    config: Mapping[str, Any] | None = None,
    history: Iterable[Mapping[str, Any]] | None = None,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Image:
    """An image of these layers, lowest first.

    `config` is the config's inner `config` object (Env, User, Labels ...), `changes` replaces top-level keys of the
    whole configuration, `history` replaces the history made from the layers' `created_by`, and `docker` writes Docker
    schema 2 media types in place of OCI ones.
    """
    system, architecture, *variant = platform.split("/")
    about = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
    document = {
        **about,
        "created": CREATED,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": list(history)
        if history is not None
        else [{"created": CREATED, "created_by": each.created_by} for each in layers],
        **(changes or {}),
    }
    raw = encode(document)
    media_types = LAYER_DOCKER if docker else LAYER_OCI
    media_type = MANIFEST_DOCKER if docker else MANIFEST_OCI
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": describe(raw, CONFIG_DOCKER if docker else CONFIG_OCI),
        "layers": [describe(each.blob, media_types[each.compression]) for each in layers],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    return Image(layers=layers, config=raw, manifest=encode(manifest), media_type=media_type, platform=about)


def attestation(subject: Image) -> Image:
    """The provenance manifest BuildKit puts beside an image in its index."""
    statement = Layer(tar=b"{}", blob=b"{}", compression="none", created_by="")
    built = image(statement, platform="unknown/unknown")
    return Image(
        layers=built.layers,
        config=built.config,
        manifest=encode({**json.loads(built.manifest), "annotations": {"subject": subject.digest}}),
        media_type=built.media_type,
        platform={"os": "unknown", "architecture": "unknown"},
    )


def index(*members: Image | Index, docker: bool = False) -> Index:
    """An index of images and further indexes, each described with the platform it has."""
    media_type = INDEX_DOCKER if docker else INDEX_OCI
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [member.descriptor for member in members],
    }
    return Index(manifest=encode(document), media_type=media_type, members=members)


def encode(document: Mapping[str, Any] | list[Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def layout_files(images: Mapping[str, Image | Index] | Image | Index) -> dict[str, bytes]:
    """The files of an OCI layout by relative path. Names become `org.opencontainers.image.ref.name`."""
    named = images.items() if isinstance(images, Mapping) else [("", images)]
    descriptors: list[dict[str, Any]] = []
    blobs: dict[str, bytes] = {}
    for name, each in named:
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        descriptors.append(each.descriptor | annotations)
        blobs |= each.blobs
    return {
        "oci-layout": encode({"imageLayoutVersion": "1.0.0"}),
        "index.json": encode({"schemaVersion": 2, "mediaType": INDEX_OCI, "manifests": descriptors}),
        **{f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()},
    }


def write_layout(root: Path, images: Mapping[str, Image | Index] | Image | Index) -> Path:
    """An OCI layout directory at `root`, which is made; returns it."""
    for name, data in layout_files(images).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def docker_files(images: Mapping[str, Image] | Image, *, compression: Compression = "none") -> dict[str, bytes]:
    """The files of a `docker save` archive by path; `compression` is that of the layers (podman and jib use gzip)."""
    named = images.items() if isinstance(images, Mapping) else [("", images)]
    files: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []
    for name, each in named:
        config = f"{digest_of(each.config).removeprefix('sha256:')}.json"
        layers = [f"{part.diff_id.removeprefix('sha256:')}/layer.tar" for part in each.layers]
        files[config] = each.config
        files |= {path: compress(part.tar, compression) for path, part in zip(layers, each.layers, strict=True)}
        listed.append({"Config": config, "RepoTags": [name] if name else None, "Layers": layers})
    return {**files, "manifest.json": encode(listed)}


def hybrid_files(images: Mapping[str, Image]) -> dict[str, bytes]:
    """What Docker saves since version 25: an OCI layout, and a manifest.json that points into its blobs."""
    files = layout_files(images)
    listed = [
        {
            "Config": f"blobs/{digest_of(each.config).replace(':', '/')}",
            "RepoTags": [name],
            "Layers": [f"blobs/{part.digest.replace(':', '/')}" for part in each.layers],
        }
        for name, each in images.items()
    ]
    return {**files, "manifest.json": encode(listed)}


def write_archive(path: Path, files: Files, *, compression: Compression = "none") -> Path:
    """Any of the file sets above as one tar."""
    path.write_bytes(compress(tar(files), compression))
    return path


def _member(path: str, entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    member, content = tarfile.TarInfo(path), b""
    member.mode = 0o644
    match entry:
        case bytes():
            content = entry
        case File():
            content, member.mode, member.pax_headers = entry.content, entry.mode, dict(entry.pax)
        case Directory():
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        case Symlink():
            member.type, member.linkname = tarfile.SYMTYPE, entry.target
        case Hardlink():
            member.type, member.linkname = tarfile.LNKTYPE, entry.target
        case Special():
            member.type = entry.type
        case Whiteout():
            directory, slash, name = path.rpartition("/")
            member.name = f"{directory}{slash}.wh.{name}"
        case Opaque():
            member.name = f"{path}/.wh..wh..opq" if path else ".wh..wh..opq"
    member.size = len(content)
    return member, content
