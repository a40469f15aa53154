"""The key that signs statements: a PEM file the operator holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from app.settings import Settings
from schema.kernel.public_keys import Described, describe


class SigningKeyError(ValueError):
    """The key cannot be used; the message is for the operator and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class PemSigner:
    """Implements `schema.kernel.ports.StatementSigner`."""

    public: Described
    _sign: Callable[[bytes], bytes]

    async def sign(self, message: bytes) -> bytes:
        return await asyncio.to_thread(self._sign, message)


def open_signer(settings: Settings) -> PemSigner | None:
    """None where no key is configured. Raises SigningKeyError."""
    if settings.signing_key_file is None:
        return None
    password = settings.signing_key_password
    try:
        return read_signer(
            settings.signing_key_file.read_bytes(), password.get_secret_value().encode() if password else None
        )
    except (OSError, SigningKeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"HARBORGUARD_SIGNING_KEY_FILE: {reason}"
        raise SigningKeyError(message) from None


def read_signer(pem: bytes, password: bytes | None) -> PemSigner:
    """Of a private key in PKCS #8 or an older PEM form. Raises SigningKeyError."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # A key pair of cosign is packed in a form that nothing else reads.
        reason = "it is in cosign's own form; give it one that openssl made" if b"SIGSTORE" in pem else str(error)[:200]
        message = f"no private key in PEM: {reason}"
        raise SigningKeyError(message) from None
    try:
        return PemSigner(describe(key.public_key()), _signing(key))
    except (ValueError, AttributeError) as error:
        message = str(error)
        raise SigningKeyError(message) from None


def _signing(key: Any) -> Callable[[bytes], bytes]:
    """As cosign verifies: SHA-256, whatever the curve."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return lambda message: key.sign(message, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PrivateKey():
            return key.sign
        case _:
            return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())
