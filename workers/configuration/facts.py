"""What the checks look at, taken from an image; and what a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.oci.layout import HistoryEntry

SETUID, SETGID, OTHERS_WRITE = 0o4000, 0o2000, 0o002


class FileFact(NamedTuple):
    """A file of the merged image that a check may want to know of."""

    path: str
    mode: int
    layer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All there is to judge an image by.

    `files` are those `is_notable`, `contents` those `is_read`, of the merged image; `clutter` are directories
    that hold files and are called like one nobody needs, with the layer of one of those files. `list_layers` are
    the layers that hold package lists of apt, None where they are not known.
    """

    config: Mapping[str, object] | None  # the config's inner object; None where it is missing or none
    history: tuple[HistoryEntry, ...]
    tag: str | None = None
    files: tuple[FileFact, ...] = ()
    clutter: tuple[FileFact, ...] = ()
    contents: Mapping[str, FileContent] = field(default_factory=dict)
    list_layers: frozenset[int] | None = None


class FileContent(NamedTuple):
    content: bytes
    layer: int


class Failure(NamedTuple):
    """One place in which a check fails."""

    evidence: str  # a line, secrets masked
    path: str = ""
    layer: int = -1
