"""The outgoing client: nothing it is told, and nothing an answer says, makes it connect to a refused address."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import httpcore
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.outgoing import Address, OutgoingClient, OutgoingPolicy, Resolver, address_is_allowed, parse_target
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp
from tests.simulators.certificates import Authority, new_authority

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
PUBLIC = "93.184.215.14"
OTHER_PUBLIC = "151.101.1.69"
METADATA = "169.254.169.254"

# Names that look harmless and lead inside. A resolver may answer anything for a name a tenant owns.
INSIDE_NAMES = {
    "loopback.attacker.test": ["127.0.0.1"],
    "this.attacker.test": ["0.1.2.3"],
    "private.attacker.test": ["10.1.2.3"],
    "docker.attacker.test": ["172.17.0.1"],
    "home.attacker.test": ["192.168.1.1"],
    "carrier.attacker.test": ["100.64.0.1"],
    "metadata.attacker.test": [METADATA],
    "azure.attacker.test": ["168.63.129.16"],
    "multicast.attacker.test": ["224.0.0.251"],
    "broadcast.attacker.test": ["255.255.255.255"],
    "six.attacker.test": ["::1"],
    "unspecified.attacker.test": ["::"],
    "unique.attacker.test": ["fd12:3456:789a::1"],
    "aws6.attacker.test": ["fd00:ec2::254"],
    "link6.attacker.test": ["fe80::1%eth0"],
    "site6.attacker.test": ["fec0::1"],
    "multicast6.attacker.test": ["ff02::1"],
    "mapped.attacker.test": ["::ffff:10.0.0.1"],
    "compatible.attacker.test": ["::127.0.0.1"],
    "nat64.attacker.test": ["64:ff9b::7f00:1"],
    "nat64-metadata.attacker.test": ["64:ff9b::a9fe:a9fe"],
    "local-nat64.attacker.test": ["64:ff9b:1::a00:1"],
    "six-to-four.attacker.test": ["2002:7f00:1::1"],
    "teredo.attacker.test": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "mixed.attacker.test": [PUBLIC, "10.0.0.1"],
    "mixed6.attacker.test": ["2606:4700::6810:85e5", "::1"],
    "localhost": ["127.0.0.1", "::1"],
    "sub.localhost": ["127.0.0.1"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "metadata.google.internal": [METADATA],
    "metadata": [METADATA],
    "instance-data": [METADATA],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "xn--lcalhost-54a.test": ["127.0.0.1"],
    "intranet": ["192.168.0.10"],
}
HOSTILE = [
    *(f"https://{name}/v2/" for name in INSIDE_NAMES),
    *(f"http://{name}:8080/" for name in ("localhost", "metadata.google.internal", "nat64.attacker.test")),
    "http://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://3232235777/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://2852039166/",
    "http://169.254.43518/",
    "http://0251.0376.0251.0376/",
    "http://100.100.100.200/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:a00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://l\u043ecalhost/",
    "http://loc\u00adalhost/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%2f@example.org/",
    "http://example.org@127.0.0.1/",
    "http://example.org:80@127.0.0.1/",
    "http://example.org\\@127.0.0.1/",
    "http://127.0.0.1\\@example.org/",
    "http://127.0.0.1#@example.org/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\r\nHost: example.org/",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "https://example.org:22/",
    "https://example.org:25/",
    "https://example.org:0/",
    "https://example.org:99999/",
    "https://exa mple.org/",
    "https://example..org/",
    "https://-example.org/",
    f"https://{'a' * 64}.org/",
    f"https://{'a.' * 130}org/",
    f"https://example.org/{'a' * 9000}",
    "https://",
    "https://[::1",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "HTTP+UNIX://%2Fvar%2Frun%2Fdocker.sock/info",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "",
]


async def resolve(host: str, _port: int) -> list[Address]:
    """Our names as listed, odd spellings of IPv4 as the C library reads them, and a public address for the rest."""
    if host in INSIDE_NAMES:
        return [ip_address(text) for text in INSIDE_NAMES[host]]
    try:
        return [IPv4Address(socket.inet_aton(host))]
    except OSError:
        return [ip_address(PUBLIC)]


@dataclass
class RecordingNetwork(httpcore.AsyncNetworkBackend):
    """The layer that opens sockets: notes every connection, and leads the ones of `servers` to a loopback server."""

    servers: dict[str, int] = field(default_factory=dict)  # address -> port on 127.0.0.1
    opened: list[str] = field(default_factory=list)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.opened.append(host)
        if host not in self.servers:
            raise httpcore.ConnectError
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.servers[host], timeout=timeout)


Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Where a loopback server listens and what it was sent."""

    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(answers: Mapping[str, Answer], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Answers a path ("*" for any other) with given bytes, or lets a coroutine function write and then hangs up."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                server.requests.append(head)
                answer = answers.get(head.split(" ")[1], answers.get("*", b""))
                if not isinstance(answer, bytes):
                    await answer(writer)
                    return
                writer.write(answer)
                await writer.drain()

    if tls is not None:
        tls.sni_callback = lambda _object, name, _context: server.server_names.append(name)
    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


def answer(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def redirect(location: str, *, status: str = "302 Found") -> bytes:
    return answer(status=status, headers=f"location: {location}\r\n")


async def write_endlessly(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def stay_silent(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def client(
    *, network: httpcore.AsyncNetworkBackend | None = None, **policy: Any
) -> AsyncIterator[OutgoingClient]:
    settings: dict[str, Any] = {"allowed_networks": LOOPBACK, "connect_seconds": 5.0, "silence_seconds": 5.0} | policy
    async with OutgoingClient(OutgoingPolicy(**settings), resolve=resolve, network=network) as http:
        yield http


async def fetch(http: OutgoingHttp, url: str, *, method: str = "GET", **options: Any) -> tuple[int, bytes]:
    options = {"max_bytes": 1_000_000, "timeout_seconds": 10.0, "allow_http": True} | options
    async with http.stream(method, url, **options) as response:
        return response.status, await response.read()


async def failure(http: OutgoingHttp, url: str, **options: Any) -> OutgoingError:
    with pytest.raises(OutgoingError) as raised:
        await fetch(http, url, **options)
    return raised.value


# Addresses


@pytest.mark.parametrize(
    "text",
    [
        *(PUBLIC, "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "223.255.255.255"),
        *("2606:4700::6810:85e5", "2a00:1450:4001::1", "64:ff9b::8.8.8.8"),
    ],
)
def test_public_addresses_are_allowed(text: str) -> None:
    assert address_is_allowed(ip_address(text))


@given(st.one_of(st.ip_addresses(), st.ip_addresses(v=6, network="2000::/3")))
def test_what_is_allowed_is_global_for_the_standard_library_too(address: Address) -> None:
    assume(address not in ip_network("64:ff9b::/96"))  # judged by the IPv4 address inside
    inside = (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
    )
    assert not (inside and address_is_allowed(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_address_is_no_way_round(address: IPv4Address) -> None:
    number = int(address)
    for tunnel in (0xFFFF << 32, 0, 0x2002 << 112 | number << 80, 0x20010000 << 96 | number << 64):
        assert not address_is_allowed(IPv6Address(tunnel | number))
    assert address_is_allowed(IPv6Address(0x0064_FF9B << 96 | number)) == address_is_allowed(address)


@pytest.mark.parametrize("text", [METADATA, "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"])
def test_metadata_addresses_are_refused_even_inside_an_allowed_network(text: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert not address_is_allowed(ip_address(text), everything)
    assert not address_is_allowed(ip_address("::ffff:169.254.169.254"), everything)
    assert address_is_allowed(ip_address("10.0.0.1"), everything)


def test_an_allowed_network_allows_no_other() -> None:
    assert address_is_allowed(ip_address("10.1.0.1"), (ip_network("10.1.0.0/16"),))
    assert not address_is_allowed(ip_address("10.2.0.1"), (ip_network("10.1.0.0/16"),))
    assert not address_is_allowed(ip_address("::ffff:10.1.0.1"), (ip_network("10.1.0.0/16"),))


@given(st.text())
def test_any_text_is_parsed_or_refused(url: str) -> None:
    for text in (url, f"https://{url}/"):
        with suppress(OutgoingError):
            assert parse_target(text, ports=(range(65536),), allow_http=False).scheme == "https"


# T-40: nothing goes inside


@dataclass
class Guarded:
    """A client nothing private is allowed to, and the connections it opened. One for many URLs: it is slow to make."""

    http: OutgoingClient
    network: RecordingNetwork


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Guarded]:
    network = RecordingNetwork()
    async with client(network=network, allowed_networks=()) as http:
        yield Guarded(http, network)


@pytest.fixture
def guarded(shared: Guarded) -> Guarded:
    shared.network.opened.clear()
    return shared


@pytest.mark.parametrize("url", HOSTILE)
async def test_t40_hostile_url_opens_no_connection(url: str, guarded: Guarded) -> None:
    error = await failure(guarded.http, url)
    assert error.kind is OutgoingErrorKind.BLOCKED
    assert guarded.network.opened == []


@pytest.mark.parametrize("url", HOSTILE)
async def test_t40_redirect_to_hostile_url_opens_no_connection(url: str, guarded: Guarded) -> None:
    async with serving({"*": redirect(url)}) as server:
        guarded.network.servers = {PUBLIC: server.port}
        await failure(guarded.http, "http://registry.example.org/v2/")
    assert set(guarded.network.opened) == {PUBLIC}


async def test_t40_a_name_that_rebinds_between_two_connections_is_refused() -> None:
    answers = iter([PUBLIC, METADATA])

    async def rebinding(_host: str, _port: int) -> list[Address]:
        return [ip_address(next(answers))]

    async with serving({"*": answer(headers="connection: close\r\n")}) as server:
        network = RecordingNetwork({PUBLIC: server.port})
        async with OutgoingClient(OutgoingPolicy(), resolve=rebinding, network=network) as http:
            assert await fetch(http, "http://rebind.attacker.test/") == (200, b"")
            error = await failure(http, "http://rebind.attacker.test/")
    assert error.kind is OutgoingErrorKind.BLOCKED
    assert network.opened == [PUBLIC]


async def test_t40_a_name_is_resolved_once_and_the_connection_goes_to_that_address() -> None:
    questions: list[str] = []

    async def counting(host: str, _port: int) -> list[Address]:
        questions.append(host)
        return [ip_address(PUBLIC if len(questions) == 1 else METADATA)]

    async with serving({"*": answer(b"here")}) as server:
        network = RecordingNetwork({PUBLIC: server.port})
        async with OutgoingClient(OutgoingPolicy(), resolve=counting, network=network) as http:
            for _ in range(3):  # the kept connection needs no second look at the name
                assert await fetch(http, "http://registry.example.org/") == (200, b"here")
    assert (questions, network.opened) == (["registry.example.org"], [PUBLIC])
    assert "host: registry.example.org" in server.requests[0]


async def test_t40_the_system_resolver_is_guarded_too() -> None:
    network = RecordingNetwork()
    async with OutgoingClient(OutgoingPolicy(), network=network) as http:
        error = await failure(http, "http://localhost:8080/")
    assert error.kind is OutgoingErrorKind.BLOCKED
    assert network.opened == []


async def test_t40_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving({"*": answer(b"direct")}) as server, client() as http:
        assert await fetch(http, server.url()) == (200, b"direct")


async def test_t43_a_refused_address_and_an_unknown_or_silent_one_look_the_same() -> None:
    async def unknown(_host: str, _port: int) -> list[Address]:
        raise socket.gaierror

    def resolving(text: str) -> Resolver:
        async def known(_host: str, _port: int) -> list[Address]:
            return [ip_address(text)]

        return known

    messages = set()
    async with serving({"*": answer()}) as server:  # an open port on loopback
        for resolver in (unknown, resolving("127.0.0.1"), resolving("10.0.0.1"), resolving(PUBLIC)):
            network = RecordingNetwork({"127.0.0.1": server.port})
            async with OutgoingClient(OutgoingPolicy(), resolve=resolver, network=network) as http:
                messages.add((await failure(http, "https://name.attacker.test/")).message)
                messages.add((await failure(http, f"https://name.attacker.test:{server.port}/")).message)
            assert set(network.opened) <= {PUBLIC}
    assert server.connections == 0
    assert len(messages) == 1
    assert "HARBORGUARD_OUTGOING_ALLOWED_NETWORKS" in messages.pop()


# What works


async def test_an_allowed_network_is_reached() -> None:
    async with (
        serving({"/v2/": answer(b"{}", headers="X-Two: a\r\nX-Two: b\r\n")}) as server,
        client() as http,
        http.stream("GET", server.url("/v2/"), max_bytes=10, timeout_seconds=10, allow_http=True) as response,
    ):
        assert (response.status, response.headers["x-two"]) == (200, "a, b")
        assert response.url == server.url("/v2/")
        assert await response.read() == b"{}"
    assert "accept-encoding: identity" in server.requests[0]


async def test_an_ipv6_address_is_reached() -> None:
    public = "2606:4700::6810:85e5"
    async with serving({"*": answer(b"six")}) as server:
        network = RecordingNetwork({public: server.port})
        async with client(network=network) as http:
            assert await fetch(http, f"http://[{public}]:5000/") == (200, b"six")
    assert network.opened == [public]
    assert f"host: [{public}]:5000\r\n" in server.requests[0]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def two(_host: str, _port: int) -> list[Address]:
        return [ip_address(OTHER_PUBLIC), ip_address(PUBLIC)]

    async with serving({"*": answer(b"second")}) as server:
        network = RecordingNetwork({PUBLIC: server.port})
        async with OutgoingClient(OutgoingPolicy(), resolve=two, network=network) as http:
            assert await fetch(http, "http://registry.example.org/") == (200, b"second")
    assert network.opened == [OTHER_PUBLIC, PUBLIC]


async def test_content_is_sent() -> None:
    async with serving({"*": answer(status="204 No Content")}) as server, client() as http:
        status, _ = await fetch(http, server.url(), method="POST", content=b"", headers={"X-Id": "1"})
    assert status == 204
    assert server.requests[0].startswith("POST / HTTP/1.1\r\n")
    assert "content-length: 0\r\n" in server.requests[0]
    assert "x-id: 1\r\n" in server.requests[0]


async def test_cookies_are_not_kept() -> None:
    async with serving({"*": answer(headers="set-cookie: tenant=a\r\n")}) as server, client() as http:
        await fetch(http, server.url())
        await fetch(http, server.url())
    assert len(server.requests) == 2
    assert "cookie" not in "".join(server.requests)


async def test_a_compressed_answer_is_handed_out_as_it_came() -> None:
    packed = gzip.compress(b"0" * 1000)
    async with serving({"*": answer(packed, headers="content-encoding: gzip\r\n")}) as server, client() as http:
        assert await fetch(http, server.url()) == (200, packed)


async def test_plain_http_needs_the_callers_word() -> None:
    async with serving({"*": answer()}) as server, client() as http:
        error = await failure(http, server.url(), allow_http=False)
    assert error.kind is OutgoingErrorKind.BLOCKED
    assert server.connections == 0


async def test_a_bad_header_is_refused_before_it_is_sent() -> None:
    async with serving({"*": answer()}) as server, client() as http:
        error = await failure(http, server.url(), headers={"X-Hook": "a\r\nHost: evil"})
    assert error.kind is OutgoingErrorKind.PROTOCOL
    assert server.requests == []


# Redirects

SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret", "X-Api-Key": "s3cret", "Accept": "text/plain"}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_of_the_same_origin_keeps_the_headers(status: str) -> None:
    async with serving({"/": redirect("/next", status=status), "/next": answer(b"there")}) as server, client() as http:
        assert await fetch(http, server.url(), headers=SECRETS) == (200, b"there")
    assert all("s3cret" in request for request in server.requests)


async def test_t42_a_redirect_to_another_origin_leaves_secrets_behind() -> None:
    async with (
        serving({"*": answer(b"there")}) as other,
        serving({"*": redirect(other.url("/next"))}) as server,
        client() as http,
    ):
        assert await fetch(http, server.url(), headers=SECRETS) == (200, b"there")
    assert "s3cret" in server.requests[0]
    assert "s3cret" not in other.requests[0]
    assert "accept: text/plain" in other.requests[0]


async def test_redirects_come_to_an_end() -> None:
    async with serving({"*": redirect("/again")}) as server, client() as http:
        error = await failure(http, server.url(), max_redirects=2)
    assert error.kind is OutgoingErrorKind.TOO_MANY_REDIRECTS
    assert len(server.requests) == 3


async def test_a_redirect_is_handed_out_when_none_is_wanted() -> None:
    async with serving({"*": redirect("/next")}) as server, client() as http:
        assert await fetch(http, server.url(), max_redirects=0) == (302, b"")
        assert await fetch(http, server.url(), method="POST", content=b"x") == (302, b"")
    assert len(server.requests) == 2


async def test_a_redirect_to_nowhere_is_an_error() -> None:
    async with serving({"*": answer(status="302 Found")}) as server, client() as http:
        assert (await failure(http, server.url())).kind is OutgoingErrorKind.PROTOCOL


# Answers that misbehave


@pytest.mark.parametrize("given", [answer(b"x" * 11), b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 11])
async def test_an_answer_over_the_limit_is_refused(given: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(given)

    async with serving({"*": write}) as server, client() as http:
        assert (await failure(http, server.url(), max_bytes=10)).kind is OutgoingErrorKind.TOO_LARGE
        assert await fetch(http, server.url(), max_bytes=11) == (200, b"x" * 11)


async def test_an_endless_answer_is_cut_at_the_limit() -> None:
    async with serving({"*": write_endlessly}) as server, client() as http:
        assert (await failure(http, server.url())).kind is OutgoingErrorKind.TOO_LARGE


async def test_the_size_a_head_request_learns_is_no_body() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n"
    async with serving({"*": head}) as server, client() as http:
        assert await fetch(http, server.url(), method="HEAD", max_bytes=0) == (200, b"")


@pytest.mark.parametrize("slow", [stay_silent, drip])
async def test_t105_the_whole_request_has_a_deadline(slow: Answer) -> None:
    async with serving({"*": slow}) as server, client() as http:
        assert (await failure(http, server.url(), timeout_seconds=0.2)).kind is OutgoingErrorKind.TIMEOUT


async def test_t105_silence_has_a_limit_of_its_own() -> None:
    async with serving({"*": stay_silent}) as server, client(silence_seconds=0.1) as http:
        assert (await failure(http, server.url(), timeout_seconds=30)).kind is OutgoingErrorKind.TIMEOUT


async def test_t105_a_name_server_that_hangs_looks_like_an_unknown_name() -> None:
    async def hanging(_host: str, _port: int) -> list[Address]:
        await asyncio.sleep(60)
        return []

    async with OutgoingClient(OutgoingPolicy(connect_seconds=0.1), resolve=hanging) as http:
        assert (await failure(http, "https://slow.test/")).kind is OutgoingErrorKind.UNREACHABLE


@pytest.mark.parametrize(
    "given",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        answer(b"whole")[:-1],
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
    ids=["ssh", "nothing", "cut", "negative", "huge number", "huge header"],
)
async def test_t105_what_is_not_http_or_cut_short_is_an_error(given: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(given)

    async with serving({"*": write}) as server, client() as http:
        assert (await failure(http, server.url())).kind is OutgoingErrorKind.PROTOCOL


async def test_t105_a_connection_that_is_reset_is_an_error() -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"x" * 100)[:-50])
        await writer.drain()
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving({"*": reset}) as server, client() as http:
        error = await failure(http, server.url())
    assert error.kind in {OutgoingErrorKind.UNREACHABLE, OutgoingErrorKind.PROTOCOL}


async def test_an_error_of_the_caller_passes_through() -> None:
    async with serving({"*": answer()}) as server, client() as http:
        for error in (TimeoutError("mine"), OSError("disk full")):
            with pytest.raises(type(error), match=str(error)):
                async with http.stream("GET", server.url(), max_bytes=1, timeout_seconds=9, allow_http=True):
                    raise error


async def test_t63_credentials_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving({"*": answer(b"body-s3cret")}) as server, client() as http:
        await fetch(http, server.url("/?token=s3cret"), headers=SECRETS)
    assert "s3cret" not in caplog.text


# TLS


def server_context(authority: Authority, name: str, *, days: int = 1) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name, days=days))
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path)


async def test_tls_keeps_the_name_while_the_connection_is_pinned(authority: Authority) -> None:
    async with serving({"*": answer(b"sealed")}, tls=server_context(authority, "registry.test")) as server:
        network = RecordingNetwork({PUBLIC: server.port})
        async with client(network=network, extra_ca_bundle=authority.bundle) as http:
            assert await fetch(http, "https://registry.test/") == (200, b"sealed")
    assert (network.opened, server.server_names) == ([PUBLIC], ["registry.test"])
    assert "host: registry.test\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("name", "days", "trusted"), [("other.test", 1, True), ("registry.test", -1, True), ("registry.test", 1, False)]
)
async def test_a_certificate_that_does_not_fit_is_refused(
    authority: Authority, name: str, days: int, *, trusted: bool
) -> None:
    async with serving({"*": answer(b"sealed")}, tls=server_context(authority, name, days=days)) as server:
        network = RecordingNetwork({PUBLIC: server.port})
        bundle = authority.bundle if trusted else None
        async with client(network=network, extra_ca_bundle=bundle) as http:
            error = await failure(http, "https://registry.test/", headers=SECRETS)
    assert error.kind is OutgoingErrorKind.UNTRUSTED
    assert server.requests == []


async def test_a_server_without_tls_is_not_trusted() -> None:
    def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as listener:
        network = RecordingNetwork({PUBLIC: listener.sockets[0].getsockname()[1]})
        async with client(network=network) as http:
            error = await failure(http, "https://registry.test/")
    assert error.kind is OutgoingErrorKind.UNTRUSTED


async def test_an_answer_over_tls_cannot_lead_to_plain_http(authority: Authority) -> None:
    async with (
        serving({"*": answer(b"plain")}) as plain,
        serving({"*": redirect(plain.url())}, tls=server_context(authority, "registry.test")) as server,
    ):
        network = RecordingNetwork({PUBLIC: server.port})
        async with client(network=network, extra_ca_bundle=authority.bundle) as http:
            error = await failure(http, "https://registry.test/")
    assert error.kind is OutgoingErrorKind.BLOCKED
    assert plain.connections == 0
