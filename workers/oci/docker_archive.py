"""An image as `docker save` writes it, for tools that read nothing else: one tar of layers, config and manifest.json.

Layers are copied as they are stored, gzip or plain; only zstd, which such tools do not read, is unpacked on the way.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import orjson

from workers.oci.compression import BLOCK, MAGIC_SIZE, packing, unpack
from workers.oci.layout import Image, Layout
from workers.oci.limits import Budget, ImageLimits

_ENDINGS = {"gzip": ".tar.gz", "zstd": ".tar", None: ".tar"}


def write_docker_archive(image: Image, destination: Path, budget: Budget) -> None:
    """Writes a new file, which counts against the budget; `budget.stop()` ends it from another thread.

    A layer that is there twice is stored once. Raises ScanFailure: LIMIT_EXCEEDED, IMAGE_INVALID, INTERRUPTED.
    """
    layout = Layout(image.layout, budget.limits)
    with destination.open("xb") as archive:
        names: dict[str, str] = {}
        for layer in image.layers:
            if layer.digest not in names:
                with layout.open_blob(layer.digest) as blob:
                    kind = packing(blob.read(MAGIC_SIZE))
                    blob.seek(0)
                    name = f"{layer.digest.partition(':')[2]}{_ENDINGS[kind]}"
                    _add(archive, name, _blocks(blob, budget.limits, packed=kind != "zstd"), budget)
                names[layer.digest] = name
        config = f"{image.config_digest.partition(':')[2]}.json"
        with layout.open_blob(image.config_digest) as blob:
            _add(archive, config, _blocks(blob, budget.limits, packed=True), budget)
        listed = [{"Config": config, "RepoTags": None, "Layers": [names[layer.digest] for layer in image.layers]}]
        _add(archive, "manifest.json", iter([orjson.dumps(listed)]), budget)
        archive.write(bytes(2 * tarfile.BLOCKSIZE))


def _blocks(blob: BinaryIO, limits: ImageLimits, *, packed: bool) -> Iterator[bytes]:
    return iter(lambda: blob.read(BLOCK), b"") if packed else unpack(blob, limits)


def _add(archive: IO[bytes], name: str, blocks: Iterator[bytes], budget: Budget) -> None:
    """The size of an entry stands before it and is known behind it, so its header is written last."""
    start = archive.tell()
    archive.write(bytes(tarfile.BLOCKSIZE))
    for block in blocks:
        budget.unpack(len(block))
        archive.write(block)
    end = archive.tell()
    member = tarfile.TarInfo(name)
    member.size = end - start - tarfile.BLOCKSIZE
    archive.write(bytes(-member.size % tarfile.BLOCKSIZE))
    archive.seek(start)
    archive.write(member.tobuf(tarfile.GNU_FORMAT))  # one block, whatever the size
    archive.seek(0, os.SEEK_END)
