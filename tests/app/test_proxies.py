from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxies import UNKNOWN, TrustedProxies

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def scope(peer: str | None, *forwarded: str, scheme: str = "http", proto: str | None = None) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    if proto is not None:
        headers.append((b"x-forwarded-proto", proto.encode()))
    return {
        "type": "http",
        "scheme": scheme,
        "client": None if peer is None else (peer, 1),
        "headers": headers,
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], UNKNOWN),
        ("testclient", ["198.51.100.1"], UNKNOWN),
    ],
)
def test_client_is_the_nearest_address_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], client: str
) -> None:
    assert PROXIES.client_ip(scope(peer, *forwarded)) == client


@given(st.lists(st.text(alphabet="0123456789abcdef.:, []x", max_size=20), max_size=4))
def test_what_a_stranger_forwards_is_never_believed(forwarded: list[str]) -> None:
    assert PROXIES.client_ip(scope("192.0.2.1", *forwarded)) == "192.0.2.1"


@given(st.text(alphabet="0123456789abcdef.:, []x", max_size=40))
def test_what_a_client_writes_before_its_proxy_changes_nothing(spoofed: str) -> None:
    assert PROXIES.client_ip(scope("10.0.0.1", f"{spoofed},198.51.100.1")) == "198.51.100.1"


@pytest.mark.parametrize(
    ("given", "https"),
    [
        (scope("192.0.2.1"), False),
        (scope("192.0.2.1", scheme="https"), True),
        (scope("192.0.2.1", scheme="wss"), True),
        (scope("192.0.2.1", proto="https"), False),
        (scope("10.0.0.1", proto="https"), True),
        (scope("10.0.0.1", proto="https, http"), False),
        (scope(None, proto="https"), False),
    ],
)
def test_https_is_what_the_last_hop_or_a_trusted_proxy_says(given: dict[str, Any], *, https: bool) -> None:
    assert PROXIES.is_https(given) is https
