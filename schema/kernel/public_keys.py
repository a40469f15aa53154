"""Public keys as cosign and openssl write them: which kinds there are, what each is called, and whether it signed something."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
MIN_RSA_BITS = 2048
KINDS = f"ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of {MIN_RSA_BITS} bits or more"
_CURVES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """`fingerprint` is the SHA-256 of the key's DER (SubjectPublicKeyInfo) in hex, `pem` the same in PEM."""

    key: PublicKey
    algorithm: str  # "ecdsa-secp256r1", "ed25519", "rsa-pkcs1v15-3072"
    fingerprint: str
    pem: str


def describe(key: object) -> Described:
    """ValueError for a key that is none of KINDS."""
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            algorithm = f"ecdsa-{key.curve.name}"
        case ed25519.Ed25519PublicKey():
            algorithm = "ed25519"
        case rsa.RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            algorithm = f"rsa-pkcs1v15-{key.key_size}"
        case _:
            raise ValueError(f"expected {KINDS}")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Described(
        key=key,
        algorithm=algorithm,
        fingerprint=hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest(),
        pem=key.public_bytes(serialization.Encoding.PEM, form).decode(),
    )


def has_signed(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Cosign hashes with SHA-256 whatever the curve; others with the hash of the curve's size."""
    match key:
        case ec.EllipticCurvePublicKey():
            digests = (hashes.SHA256(), _CURVES[key.curve.name])
            ways = [partial(key.verify, signature, message, ec.ECDSA(digest)) for digest in digests]
        case ed25519.Ed25519PublicKey():
            ways = [partial(key.verify, signature, message)]
        case _:
            ways = [partial(key.verify, signature, message, padding.PKCS1v15(), hashes.SHA256())]
    return any(map(_holds, ways))


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
