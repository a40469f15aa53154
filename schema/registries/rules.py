"""What a registry is, when it is looked at, and which of its tags count. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from schema.kernel.cron import Cron, find_zone
from schema.kernel.errors import Issue
from schema.registries.models import RegistryProvider, Schedule

GITLAB_PORT = ":5050"
MAX_GLOBS = 50
GLOB = re.compile(r"[A-Za-z0-9_.*?!\[\]-]{1,128}")
# What a provider's registries are called. Harbor, Nexus, JFrog and Quay on hosts of one's own are called anything, and
# gcr.io is no Artifact Registry: those are CUSTOM until the caller says what they are.
_NAMED: tuple[tuple[RegistryProvider, re.Pattern[str]], ...] = (
    (RegistryProvider.AWS_ECR, re.compile(r"[^.]+\.dkr\.ecr(-fips)?\.[^.]+\.amazonaws\.com(\.cn)?")),
    (RegistryProvider.GOOGLE_GAR, re.compile(r"[^.]+-docker\.pkg\.dev")),
    (RegistryProvider.AZURE_ACR, re.compile(r"[^.]+(\.[^.]+)*\.azurecr\.io")),
    (RegistryProvider.GHCR, re.compile(r"ghcr\.io")),
    (RegistryProvider.DOCKER_HUB, re.compile(r"docker\.io|registry-1\.docker\.io")),
    (RegistryProvider.GITLAB, re.compile(r"(registry\.)?gitlab\.com")),
    (RegistryProvider.JFROG, re.compile(r"[^.]+(\.[^.]+)*\.jfrog\.io")),
    (RegistryProvider.QUAY, re.compile(r"quay\.io")),
)


def detect(host: str) -> RegistryProvider:
    """The provider whose registries are called like that; CUSTOM where the name does not tell.

    Known are `*.dkr.ecr.*.amazonaws.com`, `*-docker.pkg.dev`, `*.azurecr.io`, `ghcr.io`, `docker.io`, `gitlab.com` and
    whatever listens on port 5050, `*.jfrog.io` and `quay.io`. Not told by their names are Harbor, Nexus, JFrog and Quay on
    hosts of one's own, and `gcr.io`.
    """
    if host.endswith(GITLAB_PORT):
        return RegistryProvider.GITLAB
    return next((provider for provider, name in _NAMED if name.fullmatch(host)), RegistryProvider.CUSTOM)


def globs_of(text: str) -> list[str]:
    """`v*, latest` -> ["v*", "latest"]."""
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


# Of what is filed beside the image of that digest: "sha256-….sig", "….att", or the list of what refers to it.
_ARTIFACT_TAG = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})(\.[a-z]+)?")


def eligible(tag: str, include: str, exclude: str) -> bool:
    """Whether a tag is looked at: it matches one of the globs to include and none of those to exclude.

    Both are lists by commas, of globs with `*`, `?` and `[…]`; capitals count. Nothing to include means everything, but for
    what cosign and others file beside an image: signatures and statements are no images.
    """
    if _ARTIFACT_TAG.fullmatch(tag):
        return False
    wanted = globs_of(include) or ["*"]
    return _matches(tag, wanted) and not _matches(tag, globs_of(exclude))


def _matches(tag: str, globs: list[str]) -> bool:
    return any(fnmatchcase(tag, glob) for glob in globs)


def glob_issues(path: str, text: str) -> Iterator[Issue]:
    globs = globs_of(text)
    if len(globs) > MAX_GLOBS:
        yield Issue(path, f"must hold at most {MAX_GLOBS} globs")
    for glob in globs:
        if not GLOB.fullmatch(glob):
            yield Issue(path, f"{glob[:140]} is no glob of tags; use letters, digits, _ . - and * ? [ ], by commas")
            return


def schedule_issues(schedule: Schedule, cron: str | None, time_zone: str) -> Iterator[Issue]:
    """A cron expression is there exactly when the schedule is `cron`; the zone is one the server knows."""
    if schedule is Schedule.CRON:
        if cron is None:
            yield Issue("cron", "Required by the schedule cron, like 30 2 * * 1-5")
        else:
            yield from _parse_issues("cron", Cron.parse, cron)
    elif cron is not None:
        yield Issue("cron", f"has no meaning with the schedule {schedule}; set schedule to cron, or cron to null")
    yield from _parse_issues("timeZone", find_zone, time_zone)


def _parse_issues(path: str, parse: Callable[[str], object], text: str) -> Iterator[Issue]:
    try:
        parse(text)
    except ValueError as error:
        yield Issue(path, str(error))
