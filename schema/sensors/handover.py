"""Credentials of a registry on their way to one sensor, for one job.

They are sealed to the key the sensor registered with (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM), so whatever stands
between it and us, a proxy that ends TLS included, carries what it cannot read; and bound to the job, so that what was
sealed for one opens for no other.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import TypeAdapter, ValidationError

from schema.registries.repository import RegistryAccess

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ACCESS = TypeAdapter(RegistryAccess)


def write_public_key(key: X25519PublicKey) -> str:
    """As a sensor registers it: 32 bytes, base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def read_public_key(text: str) -> X25519PublicKey:
    """Raises ValueError for what is none."""
    try:
        return X25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def seal_access(access: RegistryAccess, public_key: str, *, scan_id: str) -> str:
    """Base64 of the encapsulated key and the ciphertext."""
    sealed = _SUITE.encrypt(orjson.dumps(asdict(access)), read_public_key(public_key), info=_bound_to(scan_id))
    return base64.b64encode(sealed).decode()


def open_access(sealed: str, key: X25519PrivateKey, *, scan_id: str) -> RegistryAccess:
    """Raises ValueError for what was not sealed for this sensor and this job."""
    try:
        content = base64.b64decode(sealed, validate=True)
        return _ACCESS.validate_json(_SUITE.decrypt(content, key, info=_bound_to(scan_id)))
    except (binascii.Error, InvalidTag, ValidationError, ValueError):
        raise ValueError("the credentials are not sealed for this sensor and this job") from None


def _bound_to(scan_id: str) -> bytes:
    return f"harborguard registry access for {scan_id}".encode()
