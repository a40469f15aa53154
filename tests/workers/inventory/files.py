"""Files of a merged image as a test writes them down."""

from __future__ import annotations

from collections.abc import Mapping

from schema.dependencies.records import OperatingSystem
from workers.oci.files import ImageFile

DEBIAN = OperatingSystem(id="debian", name="Debian GNU/Linux 12 (bookworm)", version="12", ecosystem="Debian:12")
ALPINE = OperatingSystem(id="alpine", name="Alpine Linux v3.19", version="3.19.1", ecosystem="Alpine:v3.19")


def file(path: str, content: str | bytes, layer: int = 0) -> ImageFile:
    data = content.encode() if isinstance(content, str) else content
    return ImageFile(path=path, content=data, layer_index=layer, layer_digest=f"sha256:{layer:064x}")


def files(contents: Mapping[str, str | bytes], layer: int = 0) -> dict[str, ImageFile]:
    return {path: file(path, content, layer) for path, content in contents.items()}
