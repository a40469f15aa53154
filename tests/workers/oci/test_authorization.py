"""Challenges of registries, and to whom credentials go."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.oci.authorization import (
    Challenge,
    may_receive_credentials,
    parse_challenges,
    token_url,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="Registry Realm"', [("basic", {"realm": "Registry Realm"})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"})],
        ),
        (
            'BEARER Realm = "https://a/b?c=d" , scope="repository:x:pull,push",error=invalid_token',
            [("bearer", {"realm": "https://a/b?c=d", "scope": "repository:x:pull,push", "error": "invalid_token"})],
        ),
        ('Bearer realm="a", Basic realm="b"', [("bearer", {"realm": "a"}), ("basic", {"realm": "b"})]),
        ('Negotiate, Basic realm="b \\"c\\", d"', [("negotiate", {}), ("basic", {"realm": 'b "c", d'})]),
        ('realm="before any scheme"', []),
        ('Bearer realm="never closed', [("bearer", {"realm": ""}), ("never", {}), ("closed", {})]),
    ],
)
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in parse_challenges(header)] == expected


@given(st.text(alphabet=st.sampled_from('Bearer realm="\\,= \x00ü'), max_size=200))
def test_any_header_is_read(header: str) -> None:
    for challenge in parse_challenges(header):
        token_url(challenge, "library/app")


def test_a_long_header_is_read_in_linear_time() -> None:
    for piece in ("a", " ", "=", '"', "a=", 'a="', "\\", ","):
        parse_challenges(f"Bearer {piece * 100_000}")


def test_a_token_is_asked_for_pull_of_one_repository_whatever_the_registry_suggests() -> None:
    challenge = Challenge(
        scheme="bearer",
        parameters={"realm": "https://a.test/t?account=x", "service": "a, b&c", "scope": "repository:other:push"},
    )
    url = token_url(challenge, "team/app")
    assert url is not None
    assert parse_qs(urlsplit(url).query) == {
        "account": ["x"],
        "service": ["a, b&c"],
        "scope": ["repository:team/app:pull"],
    }


@pytest.mark.parametrize(
    "realm", ["", "registry", "//a.test/", "ftp://a.test/", "file:///etc", "https://", "https://[::1"]
)
def test_a_realm_that_is_no_address_has_no_token_url(realm: str) -> None:
    assert token_url(Challenge(scheme="bearer", parameters={"realm": realm}), "app") is None


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://ghcr.io/token", "https://ghcr.io"),
        ("https://auth.docker.io/token", "https://registry-1.docker.io"),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com"),
        ("https://gitlab.example.com/jwt/auth", "https://registry.example.com:5050"),
        ("https://gitlab.example.com/jwt/auth", "https://registry.gitlab.example.com"),
        ("https://git.example.com/jwt/auth", "https://git.example.com:5050"),
        ("https://api.digitalocean.com/v2/registry/auth", "https://registry.digitalocean.com"),
        ("https://dockerauth.cn-hangzhou.aliyuncs.com/auth", "https://registry.cn-hangzhou.aliyuncs.com"),
        ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000"),
        ("https://127.0.0.1:5001/token", "http://127.0.0.1:5000"),
    ],
)
def test_t42_credentials_go_to_the_registrys_own_token_service(realm: str, registry: str) -> None:
    assert may_receive_credentials(realm, registry)


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://evil.test/token", "https://ghcr.io"),
        ("https://auth.docker.io.evil.test/token", "https://registry-1.docker.io"),
        ("https://evil.test/auth.docker.io", "https://registry-1.docker.io"),
        ("https://auth.docker.io\\@evil.test/", "https://registry-1.docker.io"),
        ("https://auth.docker.io@evil.test/", "https://registry-1.docker.io"),
        ("https://auth.docker.io/token", "https://evil.test"),
        ("http://auth.docker.io/token", "https://registry-1.docker.io"),
        ("http://ghcr.io/token", "https://ghcr.io"),
        ("http://other.test/token", "http://registry.test"),
        ("http://gitlab.example.com/jwt/auth", "http://registry.example.com"),
        ("https://b.azurecr.io/oauth2/token", "https://a.azurecr.io"),
        ("https://gitlab.com/jwt/auth", "https://registry.com"),
        ("https://com/", "https://registry.com"),
        ("https://gitlab.evil.test/", "https://registry.example.com"),
        ("https://gitlab.example.com/", "https://xregistry.example.com"),
        ("https://dockerauth.cn-hangzhou.aliyuncs.com.evil.test/", "https://registry.cn-hangzhou.aliyuncs.com"),
        ("not a url", "https://ghcr.io"),
    ],
)
def test_t42_credentials_go_to_nobody_else(realm: str, registry: str) -> None:
    assert not may_receive_credentials(realm, registry)
