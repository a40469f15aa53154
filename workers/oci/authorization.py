"""Who we are to a registry: reading its challenge, and to whom credentials may be sent.

A challenge (RFC 9110, section 11) is written by the registry, so all of it may be hostile. It can name a token service
elsewhere ("realm"); that address goes through the same guard as any other, and gets credentials only when it belongs
to the registry they are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx

# Token services under another name than their registry's, as their operators run them; * is a domain, the same in both.
# There is no general rule: two names under one domain may belong to strangers (a.azurecr.io, b.azurecr.io).
_SPLIT_REALMS = (
    ("registry-1.docker.io", "auth.docker.io"),  # Docker Hub
    ("registry.*", "gitlab.*"),  # GitLab as its installation guide names the hosts
    ("registry.*", "*"),  # gitlab.com itself
    ("registry.digitalocean.com", "api.digitalocean.com"),
    ("registry.*.aliyuncs.com", "dockerauth.*.aliyuncs.com"),
)
_PART = re.compile(r'([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([A-Za-z0-9_-]+)')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    scheme: str  # lower case: "basic", "bearer"
    parameters: Mapping[str, str]  # lower-case names


def parse_challenges(header: str) -> list[Challenge]:
    """A WWW-Authenticate header, several joined included. What cannot be read is left out."""
    challenges: list[tuple[str, dict[str, str]]] = []
    for name, quoted, plain, scheme in _parts(header):
        if scheme:
            challenges.append((scheme.lower(), {}))
        elif challenges:
            challenges[-1][1][name.lower()] = _ESCAPED.sub(r"\1", quoted) or plain
    return [Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in challenges]


def _parts(header: str) -> Iterator[tuple[str, str, str, str]]:
    for match in _PART.finditer(header):
        yield match[1] or "", match[2] or "", match[3] or "", match[4] or ""


def token_url(challenge: Challenge, repository: str | None) -> str | None:
    """Where a token is asked for, to pull from the repository or, without one, to list the registry's; None when the
    realm is no address.

    The scope is ours to ask for: one the registry suggests could be wider than what a pull needs.
    """
    realm = _parse(challenge.parameters.get("realm", ""))
    if realm is None:
        return None
    service = challenge.parameters.get("service")
    scope = "registry:catalog:*" if repository is None else f"repository:{repository}:pull"
    query = {"scope": scope} | ({"service": service} if service else {})
    return str(realm.copy_merge_params(query))


def may_receive_credentials(realm: str, registry: str) -> bool:
    """Whether the credentials of a registry may go to a token service; both are URLs.

    Over TLS to the registry's own host (on any port) or a pair of the table above; without TLS only to the host of a
    registry that is itself used without TLS.
    """
    to, of = _parse(realm), _parse(registry)
    if to is None or of is None:
        return False
    if to.host == of.host:
        return to.scheme == "https" or of.scheme == "http"
    return to.scheme == "https" and any(_is_pair(of.host, to.host, pair) for pair in _SPLIT_REALMS)


def _parse(url: str) -> httpx.URL | None:
    """Read as the client that connects reads it, so that both mean the same host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return parsed if parsed.scheme in {"http", "https"} and parsed.host else None


def _is_pair(registry: str, realm: str, pair: tuple[str, str]) -> bool:
    before, star, after = pair[0].partition("*")
    if not star:
        return (registry, realm) == pair
    domain = registry.removeprefix(before).removesuffix(after)
    # One label alone is a top-level domain, which belongs to nobody we know.
    return registry == before + domain + after and "." in domain + after and realm == pair[1].replace("*", domain)
