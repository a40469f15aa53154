"""Vault's transit engine and AWS KMS on loopback, as far as we ask them; both really encrypt, and can be told to fail.

with serving_keys() as services:
    ...  # ask services.url; services.fail = 503 makes every answer that
    services.misbehave(hanging, times=1)  # or any fault of tests/simulators/registry.py
    services.changes["plaintext"] = "AAAA"  # an answer that is right in form and wrong
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tests.simulators.registry import Fault, listening

TOKEN = "hvs.simulated"
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@dataclass(kw_only=True)
class KeyServices:
    url: str
    fail: int | None = None  # the status of every answer
    changes: dict[str, Any] = field(default_factory=dict)  # fields of answers, by what they are instead
    versions: dict[str, list[bytes]] = field(default_factory=dict)  # of a key of Vault's, the newest last
    requests: list[tuple[str, str]] = field(default_factory=list)  # what was asked, and everything that was sent
    _material: dict[str, bytes] = field(default_factory=dict)
    _faults: list[tuple[Fault, int | None]] = field(default_factory=list)

    def misbehave(self, fault: Fault, *, times: int | None = None) -> None:
        """The next `times` answers, or all, go through the fault."""
        self._faults.append((fault, times))

    def turn(self, key: str) -> None:
        """Vault's own rotation: a new version, the old ones still decrypt."""
        self.versions.setdefault(key, []).append(os.urandom(32))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            answer = await self._answer(request)
            await self._next_fault()(answer)(scope, receive, send)

    def forgive(self) -> None:
        """Honest from now on."""
        self._faults.clear()
        self.changes.clear()

    def _next_fault(self) -> Fault:
        if not self._faults:
            return lambda honest: honest
        fault, times = self._faults[0]
        if times == 1:
            self._faults.pop(0)
        elif times is not None:
            self._faults[0] = (fault, times - 1)
        return fault

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.url.path, body.decode()))
        if self.fail is not None:
            return JSONResponse({"errors": ["simulated"]}, self.fail)
        if request.url.path == "/":
            return self._kms(request, body, await request.json())
        return self._vault(request, await request.json())

    def _vault(self, request: Request, given: dict[str, str]) -> Response:
        if request.headers.get("x-vault-token") != TOKEN:
            return JSONResponse({"errors": ["permission denied"]}, 403)
        _, _, _, operation, key = request.url.path.split("/")
        if key not in self.versions:
            self.turn(key)
        versions, context = self.versions[key], base64.b64decode(given["associated_data"])
        if operation == "encrypt":
            data = _encrypt(versions[-1], base64.b64decode(given["plaintext"]), context)
            text = f"vault:v{len(versions)}:{base64.b64encode(data).decode()}"
            return self._told({"ciphertext": text, "key_version": len(versions)}, within="data")
        try:
            name, version, text = given["ciphertext"].split(":")
            assert name == "vault"
            plain = _decrypt(versions[int(version[1:]) - 1], base64.b64decode(text), context)
        except (ValueError, AssertionError, InvalidTag):
            return JSONResponse({"errors": ["cipher: message authentication failed"]}, 400)
        return self._told({"plaintext": base64.b64encode(plain).decode()}, within="data")

    def _kms(self, request: Request, body: bytes, given: dict[str, Any]) -> Response:
        if request.headers["authorization"] != _expected(request, body):
            return JSONResponse({"__type": "com.amazon#InvalidSignatureException"}, 400)
        key = self._material.setdefault(given["KeyId"], os.urandom(32))
        context = repr(sorted(given["EncryptionContext"].items())).encode()
        if request.headers["x-amz-target"] == "TrentService.Encrypt":
            data = _encrypt(key, base64.b64decode(given["Plaintext"]), context)
            return self._told({"CiphertextBlob": base64.b64encode(data).decode(), "KeyId": given["KeyId"]})
        try:
            plain = _decrypt(key, base64.b64decode(given["CiphertextBlob"]), context)
        except (ValueError, InvalidTag):
            return JSONResponse({"__type": "InvalidCiphertextException"}, 400)
        return self._told({"Plaintext": base64.b64encode(plain).decode(), "KeyId": given["KeyId"]})

    def _told(self, answer: dict[str, Any], *, within: str | None = None) -> Response:
        """As it is, but for what is to be wrong; KMS writes the names with a capital."""
        for name, value in self.changes.items():
            for spelled in {name, name.capitalize(), f"{name.capitalize()}Blob"} & answer.keys():
                answer[spelled] = value
        return JSONResponse({within: answer} if within else answer)


def _encrypt(key: bytes, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def _decrypt(key: bytes, data: bytes, context: bytes) -> bytes:
    return AESGCM(key).decrypt(data[:12], data[12:], context)


def _expected(request: Request, body: bytes) -> str:
    """Signature Version 4 of what arrived, worked out from the headers it names."""
    given = request.headers["authorization"]
    names = given.partition("SignedHeaders=")[2].partition(",")[0]
    scope = given.partition(f"Credential={ACCESS_KEY}/")[2].partition(",")[0]
    lines = "".join(f"{name}:{request.headers[name]}\n" for name in names.split(";"))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    moment = request.headers["x-amz-date"]
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"


@contextmanager
def serving_keys() -> Iterator[KeyServices]:
    listener = socket.create_server(("127.0.0.1", 0))
    services = KeyServices(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    with listening(services, listener):
        yield services
