"""Tokens and sealed secrets: the one place that makes, hashes, seals and opens them.

Tokens are 192 random bits, so a keyed hash (HMAC-SHA256 under the server's pepper) is enough to store and finds the row
in one look-up; a slow hash would only slow us down. Passwords are people's and get argon2id.

A secret we must be able to read again (a registry password) is sealed: its own AES-256-GCM data key, wrapped by the key
provider, and the place it belongs to (tenant, table, column, row) as associated data, so a ciphertext moved to another
row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from schema.kernel.ports import KeyProvider

TOKEN_PREFIX_LENGTH = 10
_TOKEN = re.compile(r"hg_(ak|pat)_[0-9a-f]{48}")
_NONCE_BYTES = 12
_SESSION_ALGORITHM = "HS256"  # the only one a cookie is read with, whatever its header claims
# Header, payload and 256 bits of signature. The short header bounds what is parsed before the signature is checked.
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,100}\.[A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{43}")
_ESSENTIAL = ClaimsOption(essential=True)
_SESSION_CLAIMS = dict.fromkeys(("sub", "org", "role", "sid", "iat", "exp"), _ESSENTIAL)
# Between our own machines' clocks; the session's row ends it to the second.
_CLOCK_SKEW_SECONDS = 60


class TokenKind(StrEnum):
    """`hg_<kind>_` + 48 hex digits; the form is checked before any look-up."""

    API_KEY = "ak"
    PERSONAL = "pat"


def new_token(kind: TokenKind) -> str:
    return f"hg_{kind}_{secrets.token_hex(24)}"


def new_setup_token() -> str:
    """The one-time token of a fresh install: of another form than a credential's, so it never passes for one."""
    return f"hg_setup_{secrets.token_hex(24)}"


def token_kind(text: str) -> TokenKind | None:
    """The kind a well-formed token claims, None for anything else."""
    match = _TOKEN.fullmatch(text)
    return TokenKind(match.group(1)) if match else None


class TokenMint:
    """Hashes tokens under the server's pepper: a database without the pepper cannot be searched for a guessed token."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper

    def hash(self, token: str) -> str:
        return hmac.new(self._pepper, token.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaims:
    """What the session cookie says. The session's row decides; `role` is the one at sign-in, told but never trusted."""

    user_id: str
    organization_id: str
    role: str
    session_id: str
    issued_at: datetime
    expires_at: datetime


class SessionSigner:
    """The session cookie: a JWT (RFC 7519) under HS256 with `sub`, `org`, `role`, `sid`, `iat`, `exp`. Append-only."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)

    def sign(self, claims: SessionClaims) -> str:
        payload = {
            "sub": claims.user_id,
            "org": claims.organization_id,
            "role": claims.role,
            "sid": claims.session_id,
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
        }
        return jwt.encode({"alg": _SESSION_ALGORITHM}, payload, self._key, algorithms=[_SESSION_ALGORITHM])

    def read(self, text: str, *, now: datetime) -> SessionClaims | None:
        """The claims of a cookie we signed that has not expired, None for anything else."""
        if not _SESSION.fullmatch(text):
            return None
        try:
            claims = jwt.decode(text, self._key, algorithms=[_SESSION_ALGORITHM]).claims
            JWTClaimsRegistry(now=int(now.timestamp()), leeway=_CLOCK_SKEW_SECONDS, **_SESSION_CLAIMS).validate(claims)
        except (JoseError, ValueError):
            return None
        return SessionClaims(
            user_id=claims["sub"],
            organization_id=claims["org"],
            role=claims["role"],
            session_id=claims["sid"],
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )


_passwords = PasswordHasher()
# Verified when there is no such user, so that an unknown e-mail address costs as much time as a wrong password.
_NOBODY = _passwords.hash(secrets.token_urlsafe())


def hash_password(password: str) -> str:
    return _passwords.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Constant work whether or not there is a stored hash."""
    try:
        _passwords.verify(stored or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def password_needs_rehash(stored: str) -> bool:
    return _passwords.check_needs_rehash(stored)


async def seal(keys: KeyProvider, plaintext: str, *, context: bytes) -> dict[str, str]:
    """Version 1: {"v", "keyId", "key" (wrapped data key), "data" (nonce + ciphertext)}, base64. Append-only."""
    data_key = AESGCM.generate_key(256)
    nonce = os.urandom(_NONCE_BYTES)
    return {
        "v": "1",
        "keyId": keys.key_id,
        "key": base64.b64encode(await keys.wrap(data_key, context=context)).decode(),
        "data": base64.b64encode(nonce + AESGCM(data_key).encrypt(nonce, plaintext.encode(), context)).decode(),
    }


async def unseal(keys: KeyProvider, sealed: dict[str, str], *, context: bytes) -> str:
    """Raises ValueError when the secret was sealed for another place or its key is gone."""
    data_key = await keys.unwrap(base64.b64decode(sealed["key"]), key_id=sealed["keyId"], context=context)
    return _opened(data_key, sealed, context=context)


async def rewrap(keys: KeyProvider, sealed: dict[str, str], *, context: bytes) -> dict[str, str]:
    """The same secret with its data key wrapped by the newest key. Raises ValueError as `unseal` does.

    A key service that errs must not cost a secret whose old key is removed afterwards: what it unwrapped has to open the
    secret, and what it wrapped has to come back.
    """
    data_key = await keys.unwrap(base64.b64decode(sealed["key"]), key_id=sealed["keyId"], context=context)
    _opened(data_key, sealed, context=context)
    wrapped = await keys.wrap(data_key, context=context)
    if await keys.unwrap(wrapped, key_id=keys.key_id, context=context) != data_key:
        msg = f"the key {keys.key_id} does not give back what it wrapped"
        raise ValueError(msg)
    return {**sealed, "keyId": keys.key_id, "key": base64.b64encode(wrapped).decode()}


def _opened(data_key: bytes, sealed: dict[str, str], *, context: bytes) -> str:
    data = base64.b64decode(sealed["data"])
    try:
        return AESGCM(data_key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context).decode()
    except InvalidTag:
        msg = "the secret does not belong here or was changed"
        raise ValueError(msg) from None


def seal_context(*, organization_id: str, table: str, column: str, row_id: str) -> bytes:
    """Where a sealed secret belongs."""
    return f"harborguard|{organization_id}|{table}|{column}|{row_id}".encode()
