"""What analysers see of an image: files of the merged filesystem, each knowing the layer that put it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schema.dependencies.records import LayerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The layer something comes from: of a file the one whose entry won."""

    layer_index: int
    layer_digest: str  # diff id


Locate = Callable[[str], Place | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile(Place):
    """One regular file as the running container would see it (hard links resolved, whiteouts applied)."""

    path: str  # relative to the root, no leading slash, no "." or ".." part
    content: bytes
    excerpt: bool = False  # the content is what was taken out of a file too large to keep (see MergedImage)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedImage:
    """The wanted files of an image after all layers were applied, and what its layers are.

    Of a program or an archive, which may be as large as the image, only an excerpt is kept in place of its content.
    """

    files: Mapping[str, ImageFile]
    layers: tuple[LayerRecord, ...]
    warnings: tuple[str, ...] = ()
    # Of any regular file, wanted or not, links on the way followed; None where there is none.
    locate: Locate = field(default=lambda _path: None, compare=False)
