"""OCI layers and layouts in pure Python, the same bytes for the same input.

Formats: https://github.com/opencontainers/image-spec (image-layout.md, layer.md, manifest.md, config.md).
Order, owner, mode and time of every entry are fixed. A diff id depends on the content alone; the digest of a
compressed blob, and so of the manifest, also depends on the zlib that compressed it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPOCH = 1686571200  # 2023-06-12T12:00:00Z, the time of every entry; two days after Debian 12.0
CREATED = "2023-06-12T12:00:00Z"
OPAQUE = ".wh..wh..opq"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a layer. `content` is None for a directory; `link` makes it a symbolic link."""

    path: str
    content: bytes | None = b""
    link: str | None = None
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One packed layer: the compressed blob and the digest of what it unpacks to."""

    created_by: str
    blob: bytes
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A line of the image's history. Without a layer it only changed the configuration."""

    created_by: str
    layer: Layer | None = None


def whiteout(path: str) -> Entry:
    """The marker that hides `path` of the layers below."""
    parent, _, name = path.rpartition("/")
    return Entry(path=f"{parent}/.wh.{name}" if parent else f".wh.{name}")


def opaque(directory: str) -> Entry:
    """The marker that hides everything the layers below have in `directory`."""
    return Entry(path=f"{directory}/{OPAQUE}")


def pack_layer(created_by: str, entries: Iterable[Entry]) -> Layer:
    """Pack entries, adding the directories above them. Two entries of one path are refused (ValueError)."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in by_path:
            raise ValueError(f"{entry.path} is twice in one layer")
        by_path[entry.path] = entry
    for path in list(by_path):
        for parent in _parents(path):
            by_path.setdefault(parent, Entry(path=parent, content=None))
    archive = pack_tar({path: by_path[path] for path in sorted(by_path, key=lambda path: path.split("/"))})
    return Layer(created_by=created_by, blob=_compress(archive), diff_id=_digest(archive))


def pack_tar(entries: Mapping[str, Entry]) -> bytes:
    """A tar archive (PAX for long names) of the entries in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in entries.items():
            archive.addfile(_header(path, entry), io.BytesIO(entry.content or b""))
    return buffer.getvalue()


def image_files(steps: Sequence[Step], *, reference: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The digest of the manifest, and all files of an OCI layout that holds this one image.

    `settings` is the `config` object of the image configuration. `reference` ("name:tag") names the image: its tag
    goes into the annotation the specification reserves for it, the whole of it into the one containerd reads.
    """
    layers = [step.layer for step in steps if step.layer is not None]
    configuration = _json(
        {
            "created": CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [_history(step) for step in steps],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, configuration),
            "layers": [_descriptor(LAYER_TYPE, layer.blob) for layer in layers],
        }
    )
    annotations = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [{**_descriptor(MANIFEST_TYPE, manifest), "annotations": annotations}],
        }
    )
    blobs = [configuration, manifest, *(layer.blob for layer in layers)]
    files = {_blob_path(blob): blob for blob in blobs}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = index
    return _digest(manifest), files


def write_layout(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write a layout. Blobs come first and index.json last, so a reader never sees an index without its blobs."""
    for name in sorted(files, key=lambda name: (name == "index.json", name)):
        write_file(directory / name, files[name])


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a layout as one tar archive (the `oci-archive` form)."""
    entries = (Entry(path=name, content=files[name]) for name in sorted(files))
    write_file(path, pack_tar({entry.path: entry for entry in entries}))


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _header(path: str, entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.mtime = EPOCH
    header.uname = header.gname = ""
    if entry.link is not None:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, 0o777
    elif entry.content is None:
        header.type, header.mode = tarfile.DIRTYPE, 0o755
    else:
        header.size, header.mode = len(entry.content), 0o755 if entry.executable else 0o644
    return header


def _compress(content: bytes) -> bytes:
    buffer = io.BytesIO()
    # No file name and time zero: the header of gzip would otherwise tell one build from the next.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def _history(step: Step) -> dict[str, object]:
    line: dict[str, object] = {"created": CREATED, "created_by": step.created_by}
    if step.layer is None:
        line["empty_layer"] = True
    return line


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob_path(blob: bytes) -> str:
    return f"blobs/{_digest(blob).replace(':', '/')}"


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
