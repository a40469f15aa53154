"""Signed statements about images, as cosign and others leave them in registries."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schema.documents.dsse import authenticated
from schema.documents.intoto import PAYLOAD_TYPE
from workers.oci.registry import digest_of

SLSA = "https://slsa.dev/provenance/v1"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return pem.decode()


def statement(*digests: str, predicate_type: str = SLSA, **more: Any) -> bytes:
    subject = [{"name": "app", "digest": dict([digest.split(":")])} for digest in digests]
    body = {"_type": "https://in-toto.io/Statement/v0.1", "subject": subject, "predicateType": predicate_type}
    return json.dumps(body | {"predicate": {"buildType": "test"}} | more).encode()


def envelope(payload: bytes, *keys: ec.EllipticCurvePrivateKey, **more: Any) -> dict[str, Any]:
    signed = authenticated(PAYLOAD_TYPE, payload)
    signatures = [base64.b64encode(key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode() for key in keys]
    body = {"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode()}
    return body | {"signatures": [{"keyid": "", "sig": each} for each in signatures]} | more


def holder(*envelopes: Mapping[str, Any], media_type: str = ENVELOPE) -> tuple[bytes, dict[str, bytes]]:
    """(manifest, blobs) of an artifact whose layers are envelopes."""
    contents = [json.dumps(each).encode() for each in envelopes]
    config = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config), "size": 2},
        "layers": [
            {"mediaType": media_type, "digest": digest_of(content), "size": len(content)} for content in contents
        ],
    }
    return json.dumps(manifest).encode(), {digest_of(content): content for content in (config, *contents)}


def referring(*manifests: bytes, media_type: str = BUNDLE) -> bytes:
    """The index of what refers to an image."""
    listed = [
        {"mediaType": MANIFEST, "digest": digest_of(each), "size": len(each), "artifactType": media_type}
        for each in manifests
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
