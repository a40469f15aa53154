"""What stands between a pipeline and a real HarborGuard, and does as it is told, misbehaviour included.

with gatewaying(upstream_url) as gateway:
    gateway.misbehave("/status", answering(503), times=2)
    ...  # ask gateway.url, then look at gateway.requests
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.simulators.registry import Fault, Recorded, listening

FORWARDED = ("authorization", "content-type", "idempotency-key")
RETURNED = ("content-type", "retry-after", "content-disposition")


@dataclass
class _Planned:
    part: str
    fault: Fault
    times: int | None


@dataclass(kw_only=True)
class Gateway:
    """Forwards to `upstream` until told otherwise. Without an upstream every answer is a fault."""

    url: str
    upstream: str = ""
    requests: list[Recorded] = field(default_factory=list)
    _faults: list[_Planned] = field(default_factory=list)

    def misbehave(self, part: str, fault: Fault, *, times: int | None = None) -> None:
        """The next `times` answers to paths with `part` in them, or all, go through the fault; in the order of the calls."""
        self._faults.append(_Planned(part, fault, times))

    def asked(self, part: str) -> list[Recorded]:
        return [request for request in self.requests if part in request.path]

    def reset(self, upstream: str = "") -> None:
        self.upstream = upstream
        self.requests.clear()
        self._faults.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.requests.append(Recorded(request.method, request.url.path, request.url.query, {**request.headers}))
        honest = await self._forward(request)
        fault = self._next_fault(request.url.path)
        await (honest if fault is None else fault(honest))(scope, receive, send)

    def _next_fault(self, path: str) -> Fault | None:
        for planned in self._faults:
            if planned.part in path:
                if planned.times is not None:
                    planned.times -= 1
                    if planned.times == 0:
                        self._faults.remove(planned)
                return planned.fault
        return None

    async def _forward(self, request: Request) -> Response:
        body = await request.body()
        if not self.upstream:
            return Response(status_code=204)
        async with httpx.AsyncClient(base_url=self.upstream, trust_env=False, timeout=60) as upstream:
            try:
                answer = await upstream.request(
                    request.method,
                    request.url.path,
                    params=request.query_params,
                    content=body,
                    headers={name: request.headers[name] for name in FORWARDED if name in request.headers},
                )
            except httpx.TransportError as error:
                return Response(f"<html>{error}</html>", 502)
        kept = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
        return Response(answer.content, answer.status_code, headers=kept)


@contextmanager
def gatewaying(upstream: str = "") -> Iterator[Gateway]:
    """A gateway on a free port of 127.0.0.1, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    gateway = Gateway(url=f"http://127.0.0.1:{listener.getsockname()[1]}", upstream=upstream)
    with listening(gateway, listener):
        yield gateway
