"""Addresses of registries as people give them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from schema.images.reference import DEFAULT_REGISTRY, ImageReference
from schema.kernel.errors import HarborGuardError, Issue, invalid

MAX_URL = 500
# What people call a registry that references of its images call otherwise.
_CALLED = {
    "hub.docker.com": DEFAULT_REGISTRY,
    "registry-1.docker.io": DEFAULT_REGISTRY,
    "index.docker.io": DEFAULT_REGISTRY,
    "gitlab.com": "registry.gitlab.com",
}
_PRINTABLE = re.compile(r"[!-~]+")
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAddress:
    """Where a registry is. `host` is what references of its images begin with, in lower case and with the port, if any."""

    url: str
    host: str


def read_address(text: str, *, insecure: bool) -> RegistryAddress:
    """`ghcr.io`, `https://ghcr.io`, `http://10.0.0.5:5000`, also with a path. Raises VALIDATION_ERROR with issues at `url`."""
    given = text.strip()
    if not given or len(given) > MAX_URL or not _PRINTABLE.fullmatch(given):
        raise _refused(f"must be 1 to {MAX_URL} characters of ASCII without spaces, like https://ghcr.io")
    scheme = "http" if insecure else "https"
    if "://" not in given:
        given = f"{scheme}://{given}"
    try:
        parts = urlsplit(given)
        named = parts.hostname or ""
    except ValueError:
        raise _refused("is not an address; write it like https://ghcr.io") from None
    if parts.scheme not in {"http", "https"}:
        raise _refused("must start with https://")
    if parts.scheme == "http" and not insecure:
        raise _refused("starts with http://; set insecure to true for a registry without TLS")
    if parts.scheme == "https" and insecure:
        raise _refused("starts with https://; set insecure to false for a registry with TLS")
    if "@" in parts.netloc:
        raise _refused("must not hold a user name or password; send them as username and password")
    if parts.query or parts.fragment or "?" in given or "#" in given:
        raise _refused("must not have a query or a fragment")
    if not named:
        raise _refused("names no host; write it like https://ghcr.io")
    host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[scheme])
    return RegistryAddress(url=given.rstrip("/"), host=_CALLED.get(host) or _host(host))


def _host(text: str) -> str:
    """The host as the parser of references writes it, so that both always compare equal."""
    try:
        host = ImageReference.parse(f"{text}/image").registry
    except HarborGuardError as error:
        raise _refused(error.issues[0].message) from None
    if host == DEFAULT_REGISTRY != text:  # what has neither dot nor port is read as a namespace of Docker Hub
        raise _refused("must name a host with a domain or a port, like registry.example.com or registry:5000")
    return host


def _refused(problem: str) -> HarborGuardError:
    return invalid(Issue("url", problem))
