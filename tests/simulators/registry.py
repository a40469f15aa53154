"""A registry (OCI distribution, pull side) on loopback that does as it is told, misbehaviour included.

with serving() as stage:
    registry = stage.new_registry()
    registry.add("library/app", image(layer({"a": b"1"})), "1.0")
    registry.misbehave("blobs", cut_short, times=1)
    ...  # pull from f"{registry.host}/library/app:1.0", then look at registry.requests
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import uvicorn
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.factories.images import Image, Index, digest_of

Asked = Literal["ping", "token", "catalog", "tags", "manifests", "blobs", "referrers"]
Fault = Callable[[Response], ASGIApp]
"""Turns the honest answer into what is sent instead."""

START_SECONDS = 30.0
_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|referrers)/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(kw_only=True)
class RegistrySimulator:
    """Honest until told otherwise. `host` is what stands before the repository in a reference."""

    host: str
    auth: Literal["none", "basic", "bearer"] = "none"
    user: tuple[str, str] | None = None  # None with bearer: tokens are for everyone
    realm: str | None = None  # default: /token here
    token_uses: int | None = None  # after so many requests a token is refused
    hides_missing: bool = False  # 401 instead of 404, as registries do that don't tell what exists
    announces_digest: bool = True
    has_catalog: bool = True
    has_referrers: bool = False
    page: int = 1000  # entries of a list at once, whatever is asked for
    requests: list[Recorded] = field(default_factory=list)
    _manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    _blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _referrers: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _tokens: dict[str, int] = field(default_factory=dict)
    _faults: dict[Asked, list[tuple[Fault, int | None]]] = field(default_factory=dict)
    _most_at_once: int = 0
    _at_once: int = 0

    def add(self, repository: str, content: Image | Index, *tags: str) -> str:
        """Stores an image or index under tags; returns its digest."""
        for member in content.members if isinstance(content, Index) else ():
            self.add(repository, member)
        for name in (content.digest, *tags):
            self._manifests[repository, name] = (content.media_type, content.manifest)
        for digest, data in content.blobs.items():
            self._blobs[repository, digest] = data
        return content.digest

    def put_manifest(self, repository: str, name: str, data: bytes, *, media_type: str) -> None:
        """Any bytes as a manifest."""
        self._manifests[repository, name] = (media_type, data)

    def put_blobs(self, repository: str, blobs: Mapping[str, bytes]) -> None:
        for digest, data in blobs.items():
            self._blobs[repository, digest] = data

    def refer(self, repository: str, digest: str, listed: bytes) -> None:
        """The index of what refers to an image."""
        self._referrers[repository, digest] = listed

    def misbehave(self, asked: Asked, fault: Fault, *, times: int | None = None) -> None:
        """The next `times` answers, or all, go through the fault. Faults of one kind wear off in order."""
        self._faults.setdefault(asked, []).append((fault, times))

    def heal(self) -> None:
        """Honest again."""
        self._faults.clear()

    def asked(self, part: str) -> list[Recorded]:
        """The requests whose path contains `part`."""
        return [request for request in self.requests if part in request.path]

    @property
    def most_blobs_at_once(self) -> int:
        return self._most_at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        self.requests.append(Recorded(request.method, request.url.path, request.url.query, {**request.headers}))
        asked, honest = self._honest(request)
        app = self._next_fault(asked)(honest)
        self._at_once += asked == "blobs"
        self._most_at_once = max(self._most_at_once, self._at_once)
        try:
            await app(scope, receive, send)
        finally:
            self._at_once -= asked == "blobs"

    def _next_fault(self, asked: Asked) -> Fault:
        faults = self._faults.get(asked, [])
        if not faults:
            return lambda honest: honest
        fault, times = faults[0]
        if times is not None:
            faults[0] = (fault, times - 1)
            if times == 1:
                faults.pop(0)
        return fault

    def _honest(self, request: Request) -> tuple[Asked, Response]:
        path = request.url.path
        if path == "/token":
            return "token", self._token(request)
        if path.endswith("/_catalog"):
            return "catalog", self._refusal(request, None) or self._catalog(request)
        if path.startswith("/v2/") and path.endswith("/tags/list"):
            repository = path.removeprefix("/v2/").removesuffix("/tags/list")
            return "tags", self._refusal(request, repository) or self._tags(request, repository)
        found = _PATH.fullmatch(path)
        if found is None:
            return "ping", self._refusal(request, None) or JSONResponse({})
        repository, name = found["repository"], found["name"]
        refusal = self._refusal(request, repository)
        asked: dict[str, tuple[Asked, Callable[[str, str], Response]]] = {
            "manifests": ("manifests", self._manifest),
            "referrers": ("referrers", self._referring),
            "blobs": ("blobs", self._blob),
        }
        kind, answer = asked[found["kind"]]
        return kind, refusal or answer(repository, name)

    def remove(self, repository: str, tag: str | None = None) -> None:
        """A tag, or all of a repository."""
        for key in [*self._manifests]:
            if key[0] == repository and tag in {None, key[1]}:
                del self._manifests[key]

    def _catalog(self, request: Request) -> Response:
        if not self.has_catalog:
            return _error(404, "UNSUPPORTED")
        return self._list(request, "repositories", sorted({repository for repository, _ in self._manifests}))

    def _tags(self, request: Request, repository: str) -> Response:
        names = sorted(name for of, name in self._manifests if of == repository and ":" not in name)
        if not names:
            return _error(404, "NAME_UNKNOWN")
        return self._list(request, "tags", names)

    def _list(self, request: Request, key: str, names: list[str]) -> Response:
        rest = [name for name in names if name > request.query_params.get("last", "")]
        page, more = rest[: self.page], len(rest) > self.page
        following = f"{request.url.path}?{urlencode({'n': self.page, 'last': page[-1]})}" if more else ""
        headers = {"link": f'<{following}>; rel="next"'} if more else {}
        return JSONResponse({key: page}, headers=headers)

    def _refusal(self, request: Request, repository: str | None) -> Response | None:
        """The 401 of a request without the right to pull."""
        given = request.headers.get("authorization", "")
        if self.auth == "none" or (self.auth == "basic" and self._is_user(given)):
            return None
        if self.auth == "bearer" and self._spend(given.removeprefix("Bearer ")):
            return None
        if self.auth == "basic":
            return self._unauthorized('Basic realm="registry"')
        realm = self.realm or f"http://{self.host}/token"
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        return self._unauthorized(f'Bearer realm="{realm}",service="registry, the"{scope}')

    def _unauthorized(self, challenge: str) -> Response:
        return _error(401, "UNAUTHORIZED", headers={"www-authenticate": challenge})

    def _is_user(self, authorization: str) -> bool:
        expected = base64.b64encode(":".join(self.user or ("", "")).encode()).decode()
        return authorization == f"Basic {expected}"

    def _spend(self, token: str) -> bool:
        if self._tokens.get(token, 0) <= 0:
            return False
        self._tokens[token] -= 1
        return True

    def _token(self, request: Request) -> Response:
        if self.user is not None and not self._is_user(request.headers.get("authorization", "")):
            return _error(401, "UNAUTHORIZED")
        token = secrets.token_hex(16)
        self._tokens[token] = self.token_uses or 1_000_000
        return JSONResponse({"token": token, "expires_in": 60})

    def _manifest(self, repository: str, name: str) -> Response:
        if (repository, name) not in self._manifests:
            if self.hides_missing:
                return self._unauthorized(f'Bearer realm="http://{self.host}/token",error="insufficient_scope"')
            return _error(404, "MANIFEST_UNKNOWN")
        media_type, data = self._manifests[repository, name]
        headers = {"docker-content-digest": digest_of(data)} if self.announces_digest else {}
        return Response(data, media_type=media_type, headers=headers)

    def _referring(self, repository: str, digest: str) -> Response:
        if not self.has_referrers:
            return _error(404, "UNSUPPORTED")
        nothing = b'{"schemaVersion": 2, "manifests": []}'
        listed = self._referrers.get((repository, digest), nothing)
        return Response(listed, media_type="application/vnd.oci.image.index.v1+json")

    def _blob(self, repository: str, digest: str) -> Response:
        data = self._blobs.get((repository, digest))
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        return Response(data, media_type="application/octet-stream")


def _error(status: int, code: str, *, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": "simulated"}]}, status, headers=headers)


# Faults


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Any other answer; `retry_after="1"` becomes the header Retry-After."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _honest: Response(body, status, headers=fields)


def redirecting(url: Callable[[str], str] | str) -> Fault:
    """307 to a fixed URL, or to one made from the path that was asked."""

    def fault(_honest: Response) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            location = url if isinstance(url, str) else url(scope["path"])
            await Response(status_code=307, headers={"location": location})(scope, receive, send)

        return app

    return fault


def hanging(_honest: Response) -> ASGIApp:
    """Accepts the request and says nothing."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return app


def slowly(seconds: float) -> Fault:
    """Late, but right."""

    def fault(honest: Response) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(seconds)
            await honest(scope, receive, send)

        return app

    return fault


def dripping(honest: Response) -> ASGIApp:
    """One byte at a time, without end in reasonable time."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": honest.status_code, "headers": honest.raw_headers})
        for byte in honest.body:
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await asyncio.sleep(0.05)

    return app


def cut_short(honest: Response) -> ASGIApp:
    """Announces the whole body, sends half of it and hangs up."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": honest.status_code, "headers": honest.raw_headers})
        half = bytes(honest.body[: len(honest.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})

    return app


def shorter(honest: Response) -> ASGIApp:
    """Half of the body, announced as if it were all."""
    return _with_body(honest, bytes(honest.body[: len(honest.body) // 2]))


def longer(honest: Response) -> ASGIApp:
    """More than there should be, without announcing how much."""

    def body() -> Iterator[bytes]:
        yield bytes(honest.body)
        yield b"more"

    return StreamingResponse(body(), honest.status_code, media_type=honest.media_type)


def altered(honest: Response) -> ASGIApp:
    """Right length, wrong bytes."""
    return _with_body(honest, bytes(byte ^ 0xFF for byte in honest.body))


def endless(honest: Response) -> ASGIApp:
    """Never stops sending."""

    async def body() -> Iterator[bytes]:  # type: ignore[misc]  # an async generator
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    return StreamingResponse(body(), honest.status_code, media_type=honest.media_type)


def huge(honest: Response) -> ASGIApp:
    """Announces an exabyte."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in honest.raw_headers if name != b"content-length"]
        headers.append((b"content-length", b"1000000000000000000"))
        await send({"type": "http.response.start", "status": honest.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    return app


def _with_body(honest: Response, body: bytes) -> Response:
    kept = {name: value for name, value in honest.headers.items() if name != "content-length"}
    return Response(body, honest.status_code, headers=kept)


# Serving


@dataclass
class Stage:
    """A running server of many registries, because starting a server for every test takes longer.

    Each registry has a name of its own, so that what a cancelled pull has sent still reaches the registry it was
    meant for and no later one. `resolve_to_loopback` knows the names.
    """

    address: str
    registries: dict[str, RegistrySimulator] = field(default_factory=dict)

    def new_registry(self, name: str | None = None) -> RegistrySimulator:
        """Called `name`, or one that nobody else has; names below localhost are ours to use (RFC 6761)."""
        name = name or f"registry{len(self.registries)}.localhost"
        registry = RegistrySimulator(host=f"{name}:{self.address.rpartition(':')[2]}")
        return self.registries.setdefault(registry.host, registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.registries[Headers(scope=scope)["host"]](scope, receive, send)


async def resolve_to_loopback(_host: str, _port: int) -> list[IPv4Address]:
    """A resolver for clients of a stage."""
    return [IPv4Address("127.0.0.1")]


@contextmanager
def serving(*, certificate: Path | None = None) -> Iterator[Stage]:
    """A stage on a free port of 127.0.0.1, served in a thread; with a PEM file of key and certificate, over TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    stage = Stage(address=f"127.0.0.1:{listener.getsockname()[1]}")
    with listening(stage, listener, certificate=certificate):
        yield stage


@contextmanager
def listening(app: ASGIApp, listener: socket.socket, *, certificate: Path | None = None) -> Iterator[None]:
    """The application answers on the socket, from a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            log_level="critical",  # a fault of ours looks like an application error to uvicorn
            ssl_certfile=certificate,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the simulator did not start")
        time.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
