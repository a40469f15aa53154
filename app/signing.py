"""The key that signs statements: a PEM file the operator holds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from app.settings import Settings

MIN_RSA_BITS = 2048
_CURVES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


class SigningKeyError(ValueError):
    """The key cannot be used; the message is for the operator and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class PemSigner:
    """Implements `schema.kernel.ports.StatementSigner`. Signatures are those cosign makes and verifies."""

    key_id: str
    algorithm: str
    public_pem: str
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
    """ECDSA on a NIST curve, Ed25519 or RSA, in PKCS #8 or an older PEM form. Raises SigningKeyError."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # A cosign key pair is packed in a form of its own, which its `import-key-pair` reads and nothing writes back.
        reason = "is in cosign's own form; give it the PEM it was made from" if b"SIGSTORE" in pem else str(error)[:200]
        message = f"no private key in PEM: {reason}"
        raise SigningKeyError(message) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and (digest := _CURVES.get(key.curve.name)) is not None:
        algorithm, sign = f"ecdsa-{key.curve.name}", _ecdsa(key, digest)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm, sign = "ed25519", key.sign
    elif isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        algorithm, sign = f"rsa-pkcs1v15-{key.key_size}", _rsa(key)
    else:
        message = f"expected ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of {MIN_RSA_BITS} bits or more"
        raise SigningKeyError(message)
    public = key.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return PemSigner(
        hashlib.sha256(public.public_bytes(serialization.Encoding.DER, form)).hexdigest(),
        algorithm,
        public.public_bytes(serialization.Encoding.PEM, form).decode(),
        sign,
    )


def _ecdsa(key: ec.EllipticCurvePrivateKey, digest: hashes.HashAlgorithm) -> Callable[[bytes], bytes]:
    return lambda message: key.sign(message, ec.ECDSA(digest))


def _rsa(key: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
    return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())
