"""Asking a registry: patiently, and telling it who we are when it wants to know. Pulling and listing share it.

A registry may be slow, busy or cut connections: what failed is asked again, after growing pauses, until the attempts are
used up. Only the registry's own answers can ask for credentials; one that came from elsewhere, after a redirect, cannot.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
import orjson

from schema.images.reference import DEFAULT_REGISTRY
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp, OutgoingResponse
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.authorization import may_receive_credentials, parse_challenges, token_url

T = TypeVar("T")

_API_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}  # names that people use -> hosts that answer
_TOKEN_BYTES = 1 << 20
_TOKENS_KEPT = 64  # of as many repositories
_SECONDS = re.compile(r"[0-9]{1,9}")
_RETRIED = frozenset({OutgoingErrorKind.UNREACHABLE, OutgoingErrorKind.TIMEOUT, OutgoingErrorKind.PROTOCOL})
_CODES = {
    OutgoingErrorKind.BLOCKED: FailureCode.ADDRESS_BLOCKED,
    OutgoingErrorKind.UNREACHABLE: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.UNTRUSTED: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.TIMEOUT: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.TOO_LARGE: FailureCode.REGISTRY_PROTOCOL,
    OutgoingErrorKind.TOO_MANY_REDIRECTS: FailureCode.REGISTRY_PROTOCOL,
    OutgoingErrorKind.PROTOCOL: FailureCode.REGISTRY_PROTOCOL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCredentials:
    """A user name and a password or access token."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a registry is waited for, in seconds, and how often it is asked."""

    total_seconds: float = 1500.0  # a whole pull
    answer_seconds: float = 30.0  # a manifest, a page of a list or a token, body included
    attempts: int = 5
    first_pause_seconds: float = 0.5  # doubled each time
    longest_pause_seconds: float = 30.0  # also when the registry asks for more

    def pause_seconds(self, attempt: int, retry_after: str) -> float:
        """How long to wait after the given attempt (1 is the first), heeding a Retry-After header of seconds.

        The header may also be a date, which no registry is known to send.
        """
        asked = int(retry_after) if _SECONDS.fullmatch(retry_after) else 0
        return min(max(self.first_pause_seconds * (1 << attempt - 1), asked), self.longest_pause_seconds)


PATIENCE = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is asked for, as messages name it."""

    noun: str  # "image"
    name: str  # "ghcr.io/acme/api:1.4.7"

    def __str__(self) -> str:
        """Begins a sentence."""
        return f"{self.noun.capitalize()} {self.name}"


class BusyError(Exception):
    """An answer that may be another one later: 429 or 5xx."""

    def __init__(self, failure: ScanFailure, retry_after: str) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after = retry_after


class RegistryClient:
    """One registry, for the time of one task. `host` is what references of its images begin with."""

    def __init__(
        self,
        host: str,
        *,
        credentials: RegistryCredentials | None,
        http: OutgoingHttp,
        insecure: bool,
        patience: Patience,
    ) -> None:
        self.host = host
        self.credentials = credentials
        self.patience = patience
        self.insecure = insecure
        self.base = f"{'http' if insecure else 'https'}://{_API_HOSTS.get(host, host)}"
        self._http = http
        # By the repository they are good for; None is the list of repositories.
        self._authorizations: dict[str | None, str] = {}
        self._basic: str | None = None  # good for all of them, where the registry asks for that
        self._authorizing = asyncio.Lock()
        self._withheld_from: str | None = None  # the host of a token service that is not trusted with credentials

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        *,
        subject: Subject,
        repository: str | None,
        max_bytes: int,
        seconds: float,
        accept: str = "*/*",
    ) -> AsyncIterator[OutgoingResponse]:
        """One request; when the registry wants to know who asks, it is told and asked again."""
        url = f"{self.base}{path}"
        for is_last in (False, True):
            used = self._authorizations.get(repository, self._basic)
            async with self._http.stream(
                method,
                url,
                headers={"accept": accept} | ({"authorization": used} if used else {}),
                max_bytes=max_bytes,
                timeout_seconds=seconds,
                allow_http=self.insecure,
            ) as response:
                if response.status != httpx.codes.UNAUTHORIZED or is_last or not self._is_own(response):
                    yield response
                    return
                challenge = response.headers.get("www-authenticate", "")
            async with self._authorizing:
                if self._authorizations.get(repository, self._basic) == used:  # nobody else has done it meanwhile
                    await self._authorize(challenge, repository, subject, used)

    async def fetch_json(
        self,
        method: str,
        url: str,
        *,
        subject: Subject,
        headers: Mapping[str, str],
        max_bytes: int,
        content: bytes | None = None,
        accepts: frozenset[int] = frozenset(),
    ) -> tuple[int, object, Mapping[str, str]]:
        """Status, document and headers of an answer of a provider's own API, asked patiently.

        Whoever calls this decides whether the headers may go there. Every status but 200 and those in `accepts` is a
        failure, as is what cannot be read as JSON.
        """

        async def fetch() -> tuple[int, object, Mapping[str, str]]:
            async with self._http.stream(
                method,
                url,
                headers={"accept": "application/json", **headers},
                content=content,
                max_bytes=max_bytes,
                timeout_seconds=self.patience.answer_seconds,
                allow_http=self.insecure,
            ) as response:
                if response.status not in accepts:
                    self.check(response, subject)
                return response.status, self.parse(await response.read()), response.headers

        return await self.persistently(fetch, subject)

    def parse(self, body: bytes) -> object:
        """REGISTRY_PROTOCOL for what is not JSON."""
        try:
            parsed: object = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self.failure(FailureCode.REGISTRY_PROTOCOL, "sent an answer that is not JSON") from None
        return parsed

    def check(self, response: OutgoingResponse, subject: Subject) -> None:
        """Raises for every status but 200."""
        status = response.status
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.NOT_FOUND:
            raise ScanFailure(FailureCode.IMAGE_NOT_FOUND, f"{subject} was not found in the registry")
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise self.refused(subject)
        retry_after = response.headers.get("retry-after", "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise self.limited(retry_after)
        failure = self.failure(FailureCode.REGISTRY_PROTOCOL, f"answered with status {status}")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            failure = self.failure(FailureCode.REGISTRY_UNREACHABLE, f"answered with status {status}, repeatedly")
            raise BusyError(failure, retry_after)
        raise failure

    async def persistently(self, operation: Callable[[], Awaitable[T]], subject: Subject) -> T:
        """The operation's result, or the failure of its last attempt."""
        for attempt in range(1, self.patience.attempts + 1):
            retry_after = ""
            try:
                return await operation()
            except BusyError as busy:
                failure, retry_after = busy.failure, busy.retry_after
            except OutgoingError as error:
                failure = ScanFailure(_CODES[error.kind], f"{subject} was not fetched: {error.message}")
                if error.kind not in _RETRIED:
                    raise failure from None
            if attempt < self.patience.attempts:
                await asyncio.sleep(self.patience.pause_seconds(attempt, retry_after))
        raise failure

    def limited(self, retry_after: str) -> BusyError:
        problem = "limits how often images may be pulled; try again later, or with credentials of a larger allowance"
        return BusyError(self.failure(FailureCode.REGISTRY_UNREACHABLE, problem), retry_after)

    def refused(self, subject: Subject) -> ScanFailure:
        """A 401 or 403. Many registries give the same answer for what does not exist, so that nobody can probe them."""
        if self.credentials is None:
            reason = f"the {subject.noun} is private and needs credentials, or there is no such {subject.noun}"
        elif self._withheld_from is not None:
            reason = (
                f"it asks for credentials at {self._withheld_from}, which is not known to belong to it, "
                "so they were not sent there"
            )
        else:
            reason = f"the credentials are wrong or do not allow it, or there is no such {subject.noun}"
        problem = f"did not give out {subject.name}: {reason}"
        return self.failure(FailureCode.REGISTRY_UNAUTHORIZED, problem)

    def failure(self, code: FailureCode, problem: str) -> ScanFailure:
        return ScanFailure(code, f"The registry {self.host} {problem}")

    # Authorisation

    def _is_own(self, response: OutgoingResponse) -> bool:
        return httpx.URL(response.url).copy_with(raw_path=b"/") == httpx.URL(f"{self.base}/")

    async def _authorize(self, header: str, repository: str | None, subject: Subject, used: str | None) -> None:
        """Answers a challenge. A token expires, so this can be asked again."""
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(header)}
        if bearer := challenges.get("bearer"):
            url = token_url(bearer, repository)
            if url is None:
                raise self.failure(FailureCode.REGISTRY_PROTOCOL, "names no address at which to ask for a token")
            token = await self._token(url, subject)
            if len(self._authorizations) >= _TOKENS_KEPT:
                self._authorizations.clear()
            self._authorizations[repository] = f"Bearer {token}"
        elif "basic" in challenges and self.credentials and used is None:
            self._basic = self.credentials.basic
        else:
            raise self.refused(subject)

    async def _token(self, url: str, subject: Subject) -> str:
        headers = {"accept": "application/json"}
        if self.credentials is not None:
            if may_receive_credentials(url, self.base):
                headers["authorization"] = self.credentials.basic
            else:
                self._withheld_from = httpx.URL(url).host  # it may still have a token for everyone
        async with self._http.stream(
            "GET",
            url,
            headers=headers,
            max_bytes=_TOKEN_BYTES,
            timeout_seconds=self.patience.answer_seconds,
            allow_http=self.insecure,
        ) as response:
            if response.status == httpx.codes.NOT_FOUND:
                raise self.failure(FailureCode.REGISTRY_PROTOCOL, "names a token service that is not there")
            self.check(response, subject)
            token = _read_token(await response.read())
        if token is None:
            raise self.failure(FailureCode.REGISTRY_PROTOCOL, "sent a token that cannot be read")
        return token


def _read_token(body: bytes) -> str | None:
    """`token`, or `access_token` as OAuth calls it; None unless it can stand in a header."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    return token if isinstance(token, str) and presentable(token) else None


def presentable(token: str) -> bool:
    """Whether it can stand in a header."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token
