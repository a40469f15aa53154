"""What of a registry is looked at. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase


def eligible(tag: str, include: str, exclude: str) -> bool:
    """Whether a tag passes its registry's filters: globs, separated by commas. Excluding wins; no `include` means all."""
    return _matches(tag, include or "*") and not _matches(tag, exclude)


def _matches(tag: str, globs: str) -> bool:
    return any(fnmatchcase(tag, glob) for part in globs.split(",") if (glob := part.strip()))
