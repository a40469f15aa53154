"""What a batch may be asked, and how it stands. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

from schema.kernel.errors import Issue
from schema.registries.rules import MAX_GLOBS, eligible, glob_issues, globs_of

_GLOB = re.compile(r"[A-Za-z0-9_.:/*?!\[\]-]{1,300}")


class Choice(Protocol):
    """What chooses tags: a batch, or the request for one."""

    @property
    def images(self) -> str: ...

    @property
    def tag_include(self) -> str: ...

    @property
    def tag_exclude(self) -> str: ...


class BatchStatus(StrEnum):
    """Published, so append-only."""

    SELECTING = "SELECTING"  # tags are still being looked for
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"  # every scan has ended, one way or another
    FAILED = "FAILED"  # not every tag was looked at
    CANCELLED = "CANCELLED"


def _image_issues(images: str) -> Iterator[Issue]:
    globs = globs_of(images)
    if not globs:
        yield Issue("images", "must name at least one image, like ghcr.io/acme/*")
    if len(globs) > MAX_GLOBS:
        yield Issue("images", f"must hold at most {MAX_GLOBS} globs")
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            yield Issue(
                "images", f"{glob[:140]} is no glob of image names, like ghcr.io/acme/*; tags have their own globs"
            )
            return


def choice_issues(chosen: Choice) -> Iterator[Issue]:
    yield from _image_issues(chosen.images)
    yield from glob_issues("tagInclude", chosen.tag_include)
    yield from glob_issues("tagExclude", chosen.tag_exclude)


def is_wanted(chosen: Choice, image: str, tag: str) -> bool:
    """`*` of an image's glob goes over slashes: `ghcr.io/acme/*` is all of acme's."""
    by_image = any(fnmatchcase(image, glob) for glob in globs_of(chosen.images))
    return by_image and eligible(tag, chosen.tag_include, chosen.tag_exclude)
