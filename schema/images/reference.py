"""Names of images: `nginx`, `ghcr.io/acme/api:1.4.7`, `registry:5000/team/app@sha256:…`.

The grammar is that of the CNCF distribution project (reference/regexp.go documents it), read strictly: what does not
match is refused, never repaired, so that a reference can reach a registry or an engine's argument list as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import NoReturn, Self

from schema.kernel.errors import Issue, invalid

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

MAX_NAME = 255  # characters of registry and repository together
MAX_REFERENCE = 400  # of everything, which is what the columns that store a reference hold
MAX_PORT = 65535
_ALIASES = {"index.docker.io": DEFAULT_REGISTRY}  # Docker's old name of its own registry

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """A reference in its one canonical spelling: `str` of it parses to an equal reference."""

    registry: str  # lower case, with the port if any: "docker.io", "localhost:5000", "[::1]:5000"
    repository: str  # "library/nginx"
    tag: str | None = None
    digest: str | None = None  # "sha256:…" or "sha512:…"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a reference as `docker pull` would. Raises VALIDATION_ERROR with an issue at `image`."""
        if not text:
            _refuse("is empty; name an image like nginx:1.27 or ghcr.io/acme/api:1.4.7")
        if len(text) > MAX_REFERENCE:
            _refuse(f"is longer than {MAX_REFERENCE} characters")
        if not _PRINTABLE.fullmatch(text):
            _refuse("holds a space, a control character or a letter outside ASCII")
        if scheme := _SCHEME.match(text):
            _refuse(f"starts with {scheme.group()}; leave it out and name the image like registry.example.com/team/app")
        rest, digest = _split_digest(text)
        rest, tag = _split_tag(rest)
        registry, repository = _split_registry(rest)
        reference = cls(registry=registry, repository=repository, tag=tag, digest=digest)
        if len(reference.name) > MAX_NAME:
            _refuse(f"has a name longer than {MAX_NAME} characters")
        if len(str(reference)) > MAX_REFERENCE:
            _refuse(f"is longer than {MAX_REFERENCE} characters in full")
        return reference

    @property
    def name(self) -> str:
        """Registry and repository, what images are filed under: "docker.io/library/nginx"."""
        return f"{self.registry}/{self.repository}"

    def with_defaults(self) -> Self:
        """With the tag "latest" where neither tag nor digest was given."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _split_digest(text: str) -> tuple[str, str | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    if not _DIGEST.fullmatch(digest):
        _refuse("has a digest that is not sha256: and 64, or sha512: and 128, lower-case hexadecimal digits")
    return rest, digest


def _split_tag(text: str) -> tuple[str, str | None]:
    """A colon after the last slash starts a tag; one before it belongs to the port of a registry."""
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    if not colon:
        return text, None
    if not _TAG.fullmatch(tag):
        _refuse("has a tag that is not 1 to 128 letters, digits, underscores, dots and dashes (no dot or dash first)")
    return f"{head}{slash}{name}", tag


def _split_registry(text: str) -> tuple[str, str]:
    """The part before the first slash is a registry if it has a dot, a colon or bracket, or is localhost."""
    first, slash, rest = text.partition("/")
    is_registry = slash and (first.lower() == "localhost" or any(mark in first for mark in ".:["))
    registry, repository = (_parse_host(first), rest) if is_registry else (DEFAULT_REGISTRY, text)
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            _refuse(
                "has a repository that is not lower-case letters and digits, "
                "separated by single dots, one or two underscores, dashes or slashes"
            )
    if not slash and _IMAGE_ID.fullmatch(repository):
        _refuse("is 64 hexadecimal digits, the id of a local image; name a repository")
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{DEFAULT_NAMESPACE}/{repository}"
    return registry, repository


def _parse_host(text: str) -> str:
    match = _HOST.fullmatch(text)
    if match is None:
        _refuse("has a registry that is not a host name or [IPv6 address], with a port if it needs one")
    host = match["host"].lower()
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            _refuse("has a registry in brackets that is not an IPv6 address")
    port = match["port"]
    if port is None:
        return _ALIASES.get(host, host)
    if not 1 <= int(port) <= MAX_PORT:
        _refuse(f"has a registry port that is not 1 to {MAX_PORT}")
    return f"{host}:{int(port)}"


def _refuse(problem: str) -> NoReturn:
    raise invalid(Issue("image", problem))
