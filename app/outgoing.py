"""The one outgoing HTTP client for addresses a tenant can name: registries, webhooks, identity providers, references.

A name is resolved once per connection, every address it has is judged, and the connection goes to a judged address
(TLS and the Host header keep the name), so an answer of the DNS that changes in between cannot move it. The check lives
in the layer that opens sockets: whatever is asked above it, redirects included, passes through it. Nothing is taken
from the environment: no proxies, no netrc, no cookies.

The refused ranges are those of the IANA special-purpose address registries (RFC 6890), of IPv6 everything outside
global unicast (RFC 4291), and the addresses at which clouds hand out credentials.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore
import httpx

from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingResponse

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Name and port to addresses, in the order to try them. Raises OSError when there are none."""

MAX_URL_LENGTH = 8192

_REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space behind a carrier's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
# Refused even inside a network the operator allows: credentials are handed out there, and nothing else.
_METADATA_ADDRESSES = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
    )
)
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
# A last label like this makes some software read the whole name as an IPv4 address: 127.1, 2130706433, 0x7f.1, 1.2.3.08.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME_LENGTH = 253

# What may follow a redirect to another origin; anything else could be a credential.
_PORTABLE_HEADERS = frozenset({"accept", "accept-encoding", "range", "user-agent"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_ADDRESSES_TRIED = 4
_RESOLVER_THREADS = 16  # a name server that hangs can hold these, and no thread of anyone else


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPolicy:
    """What the operator decides; no tenant can. Times in seconds."""

    allowed_networks: tuple[Network, ...] = ()  # reachable although private, such as that of an internal registry
    ports: tuple[range, ...] = (range(80, 81), range(443, 444), range(1024, 65536))
    connect_seconds: float = 10.0  # resolving and connecting, and again for the TLS handshake
    silence_seconds: float = 30.0  # between two pieces of an answer
    extra_ca_bundle: Path | None = None  # PEM, trusted beside the public authorities


def address_is_allowed(address: Address, allowed_networks: Iterable[Network] = ()) -> bool:
    """Whether a connection may go there. A NAT64 address is judged by the IPv4 address it leads to.

    An IPv4 address in the mapped form (::ffff:10.0.0.1) is a disguise and refused whatever is allowed.
    """
    if isinstance(address, IPv6Address) and address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _METADATA_ADDRESSES or (isinstance(address, IPv6Address) and address.ipv4_mapped):
        return False
    if any(address in network for network in allowed_networks):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _REFUSED_IPV6)


def parse_target(url: str, *, ports: Iterable[range], allow_http: bool) -> httpx.URL:
    """An address we are willing to look up. Raises OutgoingError(BLOCKED), which depends on the text alone."""
    if len(url) > MAX_URL_LENGTH or not url.isascii():
        raise _refused(
            f"the address must be at most {MAX_URL_LENGTH} ASCII characters; write other scripts in punycode"
        )
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise _refused("the address is not a URL") from None
    if target.scheme != "https" and not (allow_http and target.scheme == "http"):
        raise _refused("the address must start with https://" + (" or http://" if allow_http else ""))
    if target.userinfo:
        raise _refused("the address must not carry a user name or password")
    host = target.raw_host.decode("ascii")
    if not _is_plain_host(host):
        raise _refused("the host must be a name, or an IP address in its usual form")
    if host in _METADATA_NAMES:
        raise _no_connection(host, OutgoingErrorKind.BLOCKED)
    port = _port(target)
    if not any(port in allowed for allowed in ports):
        raise _refused(f"port {port} is not one this server connects to")
    return target


def _is_plain_host(host: str) -> bool:
    """A DNS name, or an IP address spelled the one way nobody misreads."""
    if ":" in host:
        return "%" not in host and _literal(host) is not None
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _literal(host) is not None
    return len(host) <= _MAX_NAME_LENGTH and _NAME.fullmatch(host) is not None


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _port(target: httpx.URL) -> int:
    if target.port is not None:
        return target.port
    return 443 if target.scheme == "https" else 80


def _origin(target: httpx.URL) -> tuple[str, bytes, int]:
    return target.scheme, target.raw_host, _port(target)


def _refused(reason: str) -> OutgoingError:
    return OutgoingError(OutgoingErrorKind.BLOCKED, reason)


def _no_connection(host: str, kind: OutgoingErrorKind) -> OutgoingError:
    """One sentence for a refused address, an unknown name and a closed port, so that none can be told from another."""
    return OutgoingError(
        kind,
        f"could not connect to {host}: it does not answer, or its network is not one this server may reach "
        "(an operator allows private networks in HARBORGUARD_OUTGOING_ALLOWED_NETWORKS)",
    )


class SystemResolver:
    """The resolver of the operating system, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="outgoing-dns")

    async def __call__(self, host: str, port: int) -> list[Address]:
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in answers))


def _look_up(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]  # TCP addresses


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to judged addresses, and to nothing else."""

    def __init__(
        self, allowed_networks: tuple[Network, ...], *, resolve: Resolver, network: httpcore.AsyncNetworkBackend
    ) -> None:
        self._allowed_networks = allowed_networks
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises OutgoingError: BLOCKED when any address of the name is refused, else UNREACHABLE."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._addresses(host, port)
        except (TimeoutError, OSError):
            raise _no_connection(host, OutgoingErrorKind.UNREACHABLE) from None
        # One refused address spoils the name: a public registry has none, a rebinding name has.
        if not all(address_is_allowed(address, self._allowed_networks) for address in addresses):
            raise _no_connection(host, OutgoingErrorKind.BLOCKED)
        addresses = addresses[:_MAX_ADDRESSES_TRIED]
        for index, address in enumerate(addresses):
            share = None if deadline is None else max(deadline - loop.time(), 0) / (len(addresses) - index)
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout=share, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise _no_connection(host, OutgoingErrorKind.UNREACHABLE)

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        literal = _literal(host)
        return await self._resolve(host, port) if literal is None else [literal]


class OutgoingClient:
    """Implements `schema.kernel.ports.OutgoingHttp`. One for the process; connections are kept for the next request."""

    def __init__(
        self,
        policy: OutgoingPolicy,
        *,
        user_agent: str = "HarborGuard",
        resolve: Resolver | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """Raises OSError or ssl.SSLError when the extra CA bundle cannot be read."""
        tls = httpx.create_ssl_context(trust_env=False)
        if policy.extra_ca_bundle is not None:
            tls.load_verify_locations(policy.extra_ca_bundle)
        self._policy = policy
        self._user_agent = user_agent
        self._timeouts = {
            "connect": policy.connect_seconds,
            "read": policy.silence_seconds,
            "write": policy.silence_seconds,
        }
        # The number of connections is bounded by the callers: a limit here would let one tenant's slow registry
        # keep another tenant waiting.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=15.0,
            network_backend=GuardedBackend(
                policy.allowed_networks,
                resolve=resolve or SystemResolver(),
                network=network or httpcore.AnyIOBackend(),
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_redirects: int = 3,
        allow_http: bool = False,
    ) -> AsyncIterator[OutgoingResponse]:
        """See the protocol."""
        target = parse_target(url, ports=self._policy.ports, allow_http=allow_http)
        sent = {"user-agent": self._user_agent, "accept": "*/*"} | {
            name.lower(): value for name, value in (headers or {}).items()
        }
        follows = max_redirects > 0 and method in {"GET", "HEAD"}
        try:
            async with asyncio.timeout(timeout_seconds) as deadline:
                for _ in range(max_redirects + 1):
                    async with self._exchange(method, target, headers=sent, content=content) as (response, answer):
                        if not (follows and response.status in _REDIRECTS):
                            chunks = _body(response, method=method, host=target.host, max_bytes=max_bytes)
                            async with aclosing(chunks):
                                yield OutgoingResponse(
                                    url=str(target), status=response.status, headers=answer, chunks=chunks
                                )
                            return
                        source = target
                        target = self._redirected(source, answer.get("location", ""), allow_http=allow_http)
                    if _origin(source) != _origin(target):
                        sent = {name: value for name, value in sent.items() if name in _PORTABLE_HEADERS}
                raise OutgoingError(
                    OutgoingErrorKind.TOO_MANY_REDIRECTS, f"{source.host} redirects more than {max_redirects} times"
                )
        except TimeoutError:
            if not deadline.expired():
                raise  # the caller's own, from the body of its `async with`
            raise _too_slow(target.host) from None

    def _redirected(self, source: httpx.URL, location: str, *, allow_http: bool) -> httpx.URL:
        if not location:
            raise OutgoingError(OutgoingErrorKind.PROTOCOL, f"{source.host} redirects to nowhere")
        try:
            joined = source.join(location)
        except httpx.InvalidURL:
            raise _refused(f"{source.host} redirects to something that is not a URL") from None
        try:
            # An answer that came over TLS cannot send us to plain http.
            return parse_target(
                str(joined), ports=self._policy.ports, allow_http=allow_http and source.scheme == "http"
            )
        except OutgoingError as error:
            raise _refused(f"{source.host} redirects elsewhere: {error.message}") from None

    @asynccontextmanager
    async def _exchange(
        self, method: str, target: httpx.URL, *, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[tuple[httpcore.Response, dict[str, str]]]:
        """One request without redirects: the response and its headers."""
        # Nothing is decompressed here: a blob's digest is that of its bytes, and no answer can unpack to a bomb.
        fields = {**headers, "host": target.netloc.decode("ascii"), "accept-encoding": "identity"}
        if content is not None or method not in {"GET", "HEAD"}:
            fields["content-length"] = str(len(content or b""))
        with _translated(target.host):
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method,
                    httpcore.URL(
                        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
                    ),
                    headers=[(name.encode(), value.encode()) for name, value in fields.items()],
                    content=content,
                    extensions={"timeout": self._timeouts},
                )
            )
        try:
            yield response, _joined(response.headers)
        finally:
            await response.aclose()


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def _body(response: httpcore.Response, *, method: str, host: str, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body in pieces of at most 64 KiB. Raises OutgoingError; TOO_LARGE before reading when the answer admits it."""
    announced = next((value for name, value in response.headers if name.lower() == b"content-length"), b"0")
    if method != "HEAD" and int(announced) > max_bytes:
        raise _too_large(host, max_bytes)
    received = 0
    pieces = response.aiter_stream()
    while True:
        with _translated(host):
            piece = await anext(pieces, None)
        if piece is None:
            return
        received += len(piece)
        if received > max_bytes:
            raise _too_large(host, max_bytes)
        yield piece


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Errors of httpcore as OutgoingError, without the addresses and details their texts carry."""
    try:
        yield
    except (httpcore.ReadTimeout, httpcore.WriteTimeout):
        raise _too_slow(host) from None
    except (httpcore.NetworkError, httpcore.ConnectTimeout) as error:
        reason = error.__context__
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _untrusted(host, reason.verify_message) from None
        if isinstance(reason, ssl.SSLError):
            raise _untrusted(host, "it does not speak TLS as we do") from None
        raise _no_connection(host, OutgoingErrorKind.UNREACHABLE) from None
    except httpcore.RemoteProtocolError:
        message = f"the answer of {host} is not valid HTTP, or was cut short"
        raise OutgoingError(OutgoingErrorKind.PROTOCOL, message) from None
    except httpcore.LocalProtocolError:
        message = f"the request to {host} cannot be written as HTTP: check the configured headers"
        raise OutgoingError(OutgoingErrorKind.PROTOCOL, message) from None


def _untrusted(host: str, reason: str) -> OutgoingError:
    return OutgoingError(
        OutgoingErrorKind.UNTRUSTED,
        f"no trusted TLS connection to {host}: {reason} "
        "(an operator adds certificate authorities in HARBORGUARD_OUTGOING_CA_BUNDLE)",
    )


def _too_slow(host: str) -> OutgoingError:
    return OutgoingError(OutgoingErrorKind.TIMEOUT, f"{host} took too long to answer")


def _too_large(host: str, max_bytes: int) -> OutgoingError:
    return OutgoingError(OutgoingErrorKind.TOO_LARGE, f"the answer of {host} is larger than {max_bytes} bytes")
