"""Who is really at the other end: what a reverse proxy says counts only when the proxy is one the operator named."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNKNOWN = "unknown"


class TrustedProxies:
    """Reads `X-Forwarded-For` and `X-Forwarded-Proto` from peers in the given networks, from nobody else."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def client_ip(self, scope: Scope) -> str:
        """The nearest address that is not a trusted proxy, `unknown` for a peer without one (a Unix socket).

        Each proxy appends who it heard from, so the list is read from its end: what a client wrote itself stands before
        that and is never reached.
        """
        peer = _peer(scope)
        if peer is None or not self._trusts(peer):
            return UNKNOWN if peer is None else str(peer)
        client = peer
        for part in reversed(_forwarded(scope, "x-forwarded-for")):
            address = _address(part)
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return str(client)

    def is_https(self, scope: Scope) -> bool:
        if scope["scheme"] in {"https", "wss"}:
            return True
        peer = _peer(scope)
        if peer is None or not self._trusts(peer):
            return False
        return _forwarded(scope, "x-forwarded-proto")[-1:] == ["https"]

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _peer(scope: Scope) -> Address | None:
    client = scope.get("client")
    return None if client is None else _address(client[0])


def _forwarded(scope: Scope, name: str) -> list[str]:
    values = Headers(scope=scope).getlist(name)
    return [part.strip() for value in values for part in value.split(",")]


def _address(text: str) -> Address | None:
    """An address as proxies write it, also `[v6]:port` and `v4:port`; IPv4 in IPv6 clothes is IPv4."""
    bare = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
