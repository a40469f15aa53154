"""Trying a registry: whether one answers, how it wants to know who asks, and whether it takes an account.

The address is a tenant's to choose, so a failure must not tell what is at it. As long as no registry has shown itself, all
failures are one sentence after one time, whether nothing listens, something else does, or the address is not one we
connect to; and so are those of a token service that is not known to belong to the registry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx
import orjson

from schema.images.reference import DEFAULT_REGISTRY
from schema.kernel.clock import utc_now
from schema.kernel.ports import (
    OutgoingError,
    OutgoingHttp,
    ProbeResult,
    RegistryAuthentication,
    RegistryTarget,
)
from schema.registries.models import RegistryProvider
from schema.registries.repository import RegistryAccess
from schema.scans.failures import ScanFailure
from workers.oci.authorization import Challenge, may_receive_credentials, parse_challenges
from workers.oci.client import Patience, RegistryCredentials, presentable
from workers.oci.providers import pull_credentials

PROBE_SECONDS = 8.0  # of everything; and what a failure takes that must not tell anything
_API_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}
_ANSWER_BYTES = 1 << 20
_ONCE = Patience(total_seconds=PROBE_SECONDS, answer_seconds=PROBE_SECONDS, attempts=1)


class _NothingFound(Exception):  # noqa: N818 -- an outcome, and no fault of ours
    """Nothing that may be told of."""

    def __init__(self, message: str, *, result: ProbeResult | None = None) -> None:
        super().__init__(message)
        self.result = result or ProbeResult(ok=False, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_own: bool  # it came from where it was asked for, not from where a redirect led


class HttpRegistryProbe:
    """Implements `schema.kernel.ports.RegistryProbe`. `clock` is in seconds, `pause` waits for some."""

    def __init__(
        self,
        http: OutgoingHttp,
        *,
        seconds: float = PROBE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.http = http
        self._seconds = seconds
        self._clock = clock
        self._pause = pause

    async def probe(self, target: RegistryTarget) -> ProbeResult:
        """See the protocol."""
        started = self._clock()
        try:
            return await self._find(target, started)
        except _NothingFound as nothing:
            await self._pause(max(self._seconds - (self._clock() - started), 0.0))
            return nothing.result

    async def _find(self, target: RegistryTarget, started: float) -> ProbeResult:
        scheme = "http" if target.insecure else "https"
        base = f"{scheme}://{_API_HOSTS.get(target.host, target.host)}"
        url = f"{base}/v2/"
        nothing = (
            f"No registry was found at {target.host} over {scheme}: nothing this server may reach answers there, or it is no "
            "registry, or its certificate is not trusted. Check the address and whether it uses TLS; an operator allows "
            "private networks and authorities of one's own"
        )
        first = await self.ask(url, {}, insecure=target.insecure, nothing=nothing)
        latency_ms = round((self._clock() - started) * 1000)
        challenges = {each.scheme: each for each in parse_challenges(first.headers.get("www-authenticate", ""))}
        if not first.is_own or not _is_registry(first, challenges):
            raise _NothingFound(nothing)
        visit = _Visit(self, target, base, latency_ms)
        if first.status == httpx.codes.OK:
            return visit.open()
        if bearer := challenges.get("bearer"):
            return await visit.with_token(bearer)
        return await visit.with_password()

    async def ask(self, url: str, headers: Mapping[str, str], *, insecure: bool, nothing: str) -> _Answer:
        """Raises _NothingFound when there is no answer."""
        try:
            async with self.http.stream(
                "GET",
                url,
                headers={"accept": "application/json", **headers},
                max_bytes=_ANSWER_BYTES,
                timeout_seconds=self._seconds,
                allow_http=insecure,
            ) as response:
                own = httpx.URL(response.url).copy_with(raw_path=b"/") == httpx.URL(url).copy_with(raw_path=b"/")
                body = await response.read()
                return _Answer(status=response.status, headers=response.headers, body=body, is_own=own)
        except OutgoingError:
            raise _NothingFound(nothing) from None


def _is_registry(answer: _Answer, challenges: Mapping[str, Challenge]) -> bool:
    """What answers 200 or asks who we are at /v2/. Of a web page that answers 200 to everything nobody should think so."""
    if answer.status == httpx.codes.UNAUTHORIZED:
        return bool(challenges.keys() & {"bearer", "basic"})
    if answer.status != httpx.codes.OK:
        return False
    is_page = answer.headers.get("content-type", "").lower().startswith("text/html")
    return "docker-distribution-api-version" in answer.headers or not is_page


class _Visit:
    """A registry that has shown itself."""

    def __init__(self, probe: HttpRegistryProbe, target: RegistryTarget, base: str, latency_ms: int) -> None:
        self._probe = probe
        self._target = target
        self._base = base
        self._latency_ms = latency_ms
        self._credentials = None
        if target.username is not None and target.password is not None:
            self._credentials = RegistryCredentials(username=target.username, password=target.password)

    def open(self) -> ProbeResult:
        message = "The registry answers and asks nobody who they are"
        if self._credentials is not None:
            message += "; the credentials were not looked at"
        return self._result(RegistryAuthentication.NONE, message, ok=True)

    async def with_password(self) -> ProbeResult:
        kind = RegistryAuthentication.BASIC
        if self._credentials is None:
            return self._result(kind, "The registry answers, and wants a user name and a password")
        credentials = await self._login()
        if credentials is None:
            return self._result(kind, "The registry answers; its provider gave no login for the access key")
        return await self._again(kind, credentials.basic)

    async def with_token(self, challenge: Challenge) -> ProbeResult:
        kind = RegistryAuthentication.TOKEN
        url = _login_url(challenge)
        if url is None:
            return self._result(kind, "The registry answers, but names no address at which to ask for a token")
        is_known = may_receive_credentials(url, self._base)
        host = httpx.URL(url).host
        headers = {}
        if self._credentials is not None:
            if not is_known:
                message = (
                    f"The registry answers, but wants the credentials at {host}, which is not known to belong to it; they "
                    "were not sent there"
                )
                return self._result(kind, message)
            headers["authorization"] = self._credentials.basic
        no_token = f"The registry answers, but no token was to be had at {host}"
        answer = await self._ask(url, headers, kind=kind, nothing=no_token)
        token = _read_token(answer) if answer.status == httpx.codes.OK else None
        if token is None and not is_known:
            raise _NothingFound(no_token, result=self._result(kind, no_token))
        if token is None:
            refused = answer.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.BAD_REQUEST}
            return self._refused(kind) if refused else self._result(kind, no_token)
        return await self._again(kind, f"Bearer {token}")

    async def _again(self, kind: RegistryAuthentication, authorization: str) -> ProbeResult:
        nothing = "The registry answered once, and then no more"
        answer = await self._ask(f"{self._base}/v2/", {"authorization": authorization}, kind=kind, nothing=nothing)
        if answer.status == httpx.codes.OK:
            took = "gives to everybody" if self._credentials is None else "takes the credentials"
            return self._result(kind, f"The registry answers and {took}", ok=True)
        if answer.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return self._refused(kind)
        return self._result(kind, "The registry answers, but cannot tell now whether it takes the credentials")

    async def _login(self) -> RegistryCredentials | None:
        """What the registry itself takes, of some hours for an access key of Amazon's; None when that gives none."""
        target = self._target
        access = RegistryAccess(
            host=target.host,
            insecure=target.insecure,
            username=target.username,
            password=target.password,
            provider=RegistryProvider(target.provider),
        )
        try:
            return await pull_credentials(access, http=self._probe.http, clock=utc_now, patience=_ONCE)
        except ScanFailure:
            return None

    async def _ask(
        self, url: str, headers: Mapping[str, str], *, kind: RegistryAuthentication, nothing: str
    ) -> _Answer:
        try:
            return await self._probe.ask(url, headers, insecure=self._target.insecure, nothing=nothing)
        except _NothingFound:
            raise _NothingFound(nothing, result=self._result(kind, nothing)) from None

    def _refused(self, kind: RegistryAuthentication) -> ProbeResult:
        if self._credentials is None:
            return self._result(kind, "The registry answers, and gives nothing to whoever has no credentials")
        return self._result(kind, "The registry answers, and refuses the credentials")

    def _result(self, kind: RegistryAuthentication, message: str, *, ok: bool = False) -> ProbeResult:
        return ProbeResult(ok=ok, message=message, latency_ms=self._latency_ms, authentication=kind)


def _login_url(challenge: Challenge) -> str | None:
    """Where a token is asked for that is good for nothing but saying who we are: it has no scope."""
    try:
        realm = httpx.URL(challenge.parameters.get("realm", ""))
    except httpx.InvalidURL:
        return None
    if realm.scheme not in {"http", "https"} or not realm.host:
        return None
    service = challenge.parameters.get("service")
    return str(realm.copy_merge_params({"service": service}) if service else realm)


def _read_token(answer: _Answer) -> str | None:
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    token = (told.get("token") or told.get("access_token")) if isinstance(told, dict) else None
    return token if isinstance(token, str) and presentable(token) else None
