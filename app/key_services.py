"""Key services that wrap our data keys, so that the wrapping key never is on this machine.

HashiCorp Vault's transit engine (https://developer.hashicorp.com/vault/api-docs/secret/transit) and AWS KMS
(https://docs.aws.amazon.com/kms/latest/APIReference/). The place a secret belongs to goes along as authenticated data, and
both refuse to unwrap for another one. Their addresses are the operator's, not a tenant's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import structlog

from schema.kernel.errors import ErrorCode, HarborGuardError
from workers.oci.signing import sign_aws

log = structlog.get_logger(__name__)
_ATTEMPTS = 2
_SECONDS = 5.0  # of an answer, read to its end: a request may wait for it inside a transaction
_DATA_KEY_BYTES = 32
_CONTEXT = "harborguard"  # the name of ours in an encryption context of KMS
# What KMS says of a ciphertext that is none, was changed, or is for another context or key.
_NOT_OURS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


def key_client(ca_bundle: Path | None) -> httpx.AsyncClient:
    tls = httpx.create_ssl_context(trust_env=False)
    if ca_bundle is not None:
        tls.load_verify_locations(ca_bundle)
    return httpx.AsyncClient(verify=tls, trust_env=False, timeout=_SECONDS, follow_redirects=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultAccess:
    """`token_file` is read at every request: an agent of Vault's renews what is in it."""

    url: str
    mount: str
    key: str
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    namespace: str | None = None

    def headers(self) -> dict[str, str]:
        try:
            token = self.token if self.token_file is None else self.token_file.read_text().strip()
        except OSError as error:
            raise _unavailable("Vault", f"the token file: {error.strerror}") from None
        headers = {"x-vault-request": "true", "x-vault-token": token or ""}
        return headers | ({"x-vault-namespace": self.namespace} if self.namespace else {})


class VaultKeyProvider:
    """One key of a transit engine, of type aes256-gcm96. Vault keeps its versions apart by itself."""

    def __init__(self, access: VaultAccess, client: httpx.AsyncClient, *, seconds: float = _SECONDS) -> None:
        self._access = access
        self._client = client
        self._seconds = seconds

    @property
    def key_id(self) -> str:
        return f"vault:{self._access.mount}/{self._access.key}"

    async def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        told = await self._ask("encrypt", {"plaintext": _written(data_key), "associated_data": _written(context)})
        return _text(told, "ciphertext").encode()

    async def unwrap(self, wrapped: bytes, *, key_id: str, context: bytes) -> bytes:
        _require(key_id, self.key_id)
        given = {"ciphertext": wrapped.decode("ascii", "replace"), "associated_data": _written(context)}
        return _data_key(_text(await self._ask("decrypt", given), "plaintext"))

    async def _ask(self, operation: str, body: Mapping[str, str]) -> Any:
        access = self._access
        url = f"{access.url.rstrip('/')}/v1/{access.mount}/{operation}/{access.key}"
        answer = await _post(
            self._client, url, access.headers(), orjson.dumps(body), service="Vault", seconds=self._seconds
        )
        # Vault answers 400 to what it cannot decrypt, and to nothing else that we send.
        if answer.status_code == httpx.codes.BAD_REQUEST and operation == "decrypt":
            raise _does_not_belong()
        if answer.status_code != httpx.codes.OK:
            raise _unavailable("Vault", f"status {answer.status_code}")
        return _document(answer, "Vault").get("data")


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsAccess:
    """`key` is a key's id, ARN or alias."""

    key: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None  # default: the region's own


class KmsKeyProvider:
    """One symmetric key of AWS KMS. KMS keeps the material it rotated by itself."""

    def __init__(
        self,
        access: KmsAccess,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime],
        seconds: float = _SECONDS,
    ) -> None:
        self._access = access
        self._client = client
        self._seconds = seconds
        self._clock = clock

    @property
    def key_id(self) -> str:
        return f"aws-kms:{self._access.key}"

    async def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        told = await self._ask("Encrypt", {"Plaintext": _written(data_key)}, context)
        return _read(_text(told, "CiphertextBlob"))

    async def unwrap(self, wrapped: bytes, *, key_id: str, context: bytes) -> bytes:
        _require(key_id, self.key_id)
        return _data_key(_text(await self._ask("Decrypt", {"CiphertextBlob": _written(wrapped)}, context), "Plaintext"))

    async def _ask(self, operation: str, given: Mapping[str, str], context: bytes) -> Any:
        access = self._access
        url = (access.endpoint or f"https://kms.{access.region}.amazonaws.com").rstrip("/") + "/"
        body = orjson.dumps({**given, "KeyId": access.key, "EncryptionContext": {_CONTEXT: context.decode()}})
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{operation}"}
        if access.session_token is not None:
            headers["x-amz-security-token"] = access.session_token
        signed = sign_aws(
            access_key=access.access_key_id,
            secret_key=access.secret_access_key,
            region=access.region,
            service="kms",
            host=httpx.URL(url).netloc.decode(),
            headers=headers,
            body=body,
            now=self._clock(),
        )
        answer = await _post(self._client, url, signed, body, service="AWS KMS", seconds=self._seconds)
        told = _document(answer, "AWS KMS")
        if answer.status_code == httpx.codes.OK:
            return told
        kind = str(told.get("__type", "")).rpartition("#")[2]
        if kind in _NOT_OURS:
            raise _does_not_belong()
        raise _unavailable("AWS KMS", kind or f"status {answer.status_code}")


async def _post(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes, *, service: str, seconds: float
) -> httpx.Response:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            # A time-out of the client's is one of each piece, which may drip for hours.
            async with asyncio.timeout(seconds):
                answer = await client.post(url, headers=dict(headers), content=body)
        except (httpx.HTTPError, TimeoutError) as error:
            problem = type(error).__name__
        else:
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR or attempt == _ATTEMPTS:
                return answer
            problem = f"status {answer.status_code}"
    raise _unavailable(service, problem)


def _document(answer: httpx.Response, service: str) -> dict[str, Any]:
    try:
        told = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise _unavailable(service, f"status {answer.status_code}, no JSON")
    return told


def _text(told: object, name: str) -> str:
    value = told.get(name) if isinstance(told, dict) else None
    if not isinstance(value, str):
        raise _unavailable("The key service", f"an answer without {name}")
    return value


def _written(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _unavailable("The key service", "an answer that is no base64") from None


def _data_key(text: str) -> bytes:
    data_key = _read(text)
    if len(data_key) != _DATA_KEY_BYTES:
        raise _unavailable("The key service", f"an answer of {len(data_key)} bytes, where a key has {_DATA_KEY_BYTES}")
    return data_key


def _require(key_id: str, own: str) -> None:
    if key_id != own:
        msg = f"the secret was sealed under the key {key_id}, this is {own}"
        raise ValueError(msg)


def _does_not_belong() -> ValueError:
    return ValueError("the wrapped key does not belong here or was changed")


def _unavailable(service: str, problem: str) -> HarborGuardError:
    """What went wrong is the operator's business; a caller is told to come again."""
    log.warning("keys.unavailable", service=service, problem=problem)
    return HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "The key service does not answer; try again in a moment")
