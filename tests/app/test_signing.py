"""Signed statements about scans: what they say, and that others can verify it with the public half alone."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from app.settings import Settings
from app.signing import SigningKeyError, open_signer, read_signer
from schema.documents.dsse import authenticated
from schema.documents.intoto import PAYLOAD_TYPE
from tests.app.site import SIGNER, Site, Tenant, on_sqlite
from tests.app.test_documents import principal_of
from tests.schema.scans import factories as made

PACKAGE = made.package("openssl", "3.0.1")
DIGEST = "sha256:" + "d" * 64


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    packing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    written: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, packing)
    return written


def verify_with_openssl(directory: Path, public_pem: str, message: bytes, signature: bytes) -> None:
    """As cosign does it: SHA-256 of the pre-authentication encoding, ECDSA or RSA with PKCS #1; Ed25519 of it whole."""
    files = {"key.pem": public_pem.encode(), "message": message, "signature": signature}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-sigfile", "signature", "-rawin"]
    digest = [] if b"Ed25519" in _kind(directory) else ["-digest", "sha256"]
    subprocess.run([*command, "-in", "message", *digest], cwd=directory, check=True, capture_output=True)


def _kind(directory: Path) -> bytes:
    command = ["openssl", "pkey", "-pubin", "-in", "key.pem", "-noout", "-text"]
    told: bytes = subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout
    return told.replace(b"ED25519", b"Ed25519")


@pytest.fixture
async def scan_id(site: Site, tenant: Tenant) -> str:
    results = made.results(made.finding("CVE-2024-1", of=PACKAGE), packages=(PACKAGE,), digest=DIGEST)
    scan = await made.scanned(site.database, principal_of(tenant), results, image="ghcr.io/acme/api:1.4.7")
    return scan.id


@pytest.mark.parametrize(
    ("predicate", "type_", "holds"),
    [
        ("vulns", "https://in-toto.io/attestation/vulns/v0.1", "scanner"),
        ("cyclonedx", "https://cyclonedx.org/bom", "components"),
        ("spdx", "https://spdx.dev/Document", "packages"),
    ],
)
async def test_a_statement_names_the_image_and_can_be_verified(
    client: httpx.AsyncClient, tenant: Tenant, scan_id: str, tmp_path: Path, predicate: str, type_: str, holds: str
) -> None:
    url = f"/api/scans/{scan_id}/statement?predicate={predicate}"
    response = await client.get(url, headers=tenant.headers())
    signer = (await client.get("/api/signer", headers=tenant.headers())).json()["data"]

    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/vnd.dsse.envelope.v1+json")
    envelope = response.json()
    payload = base64.b64decode(envelope["payload"])
    (signature,) = envelope["signatures"]
    assert (envelope["payloadType"], signature["keyid"]) == (PAYLOAD_TYPE, signer["id"])
    signed, raw = authenticated(PAYLOAD_TYPE, payload), base64.b64decode(signature["sig"])
    verify_with_openssl(tmp_path, signer["pem"], signed, raw)
    with pytest.raises(subprocess.CalledProcessError):
        verify_with_openssl(tmp_path, signer["pem"], signed + b" ", raw)

    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "ghcr.io/acme/api", "digest": {"sha256": "d" * 64}}]
    assert statement["predicateType"] == type_
    assert statement["predicate"][holds]


@on_sqlite
async def test_the_vulns_predicate_tells_each_finding(client: httpx.AsyncClient, tenant: Tenant, scan_id: str) -> None:
    envelope = (await client.get(f"/api/scans/{scan_id}/statement", headers=tenant.headers())).json()
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    (result,) = predicate["scanner"]["result"]
    assert result["id"] == "CVE-2024-1"
    assert {"method": "harborguard", "score": "high"} in result["severity"]
    assert {"key": "package", "value": "deb/openssl@3.0.1"} in result["annotations"]
    assert predicate["metadata"]["scanStartedOn"] <= predicate["metadata"]["scanFinishedOn"]


@on_sqlite
async def test_nobody_signs_what_nobody_knows(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    """An empty list of a scan that could not judge everything would read as: there is nothing."""
    results = made.results(packages=(PACKAGE,), digest=DIGEST, grade_reason="Debian 12 is not covered")
    scan = await made.scanned(site.database, principal_of(tenant), results, image="ghcr.io/acme/unjudged:1")
    refused = await client.get(f"/api/scans/{scan.id}/statement", headers=tenant.headers())
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await client.get(f"/api/scans/{scan.id}/statement?predicate=spdx", headers=tenant.headers())).is_success


@on_sqlite
async def test_without_a_key_nothing_is_signed(
    site: Site, client: httpx.AsyncClient, tenant: Tenant, scan_id: str
) -> None:
    object.__setattr__(site.services, "statements", None)
    for url in (f"/api/scans/{scan_id}/statement", "/api/signer"):
        refused = await client.get(url, headers=tenant.headers())
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
        assert "HARBORGUARD_SIGNING_KEY_FILE" in refused.json()["error"]["message"]


@pytest.mark.parametrize("password", [None, b"correct horse"])
@pytest.mark.parametrize("kind", ["ecdsa-secp256r1", "ed25519", "rsa-pkcs1v15-2048"])
async def test_keys_of_every_kind(tmp_path: Path, kind: str, password: bytes | None) -> None:
    keys: dict[str, Any] = {
        "ecdsa-secp256r1": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa-pkcs1v15-2048": lambda: rsa.generate_private_key(65537, 2048),
    }
    path = tmp_path / "signing.pem"
    path.write_bytes(pem_of(keys[kind](), password))
    signer = open_signer(
        Settings(data_dir=tmp_path, signing_key_file=path, signing_key_password=password and password.decode())
    )
    assert signer is not None
    assert signer.public.algorithm == kind
    verify_with_openssl(tmp_path, signer.public.pem, b"message", await signer.sign(b"message"))


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        SIGNER.public.pem.encode(),
        pem_of(rsa.generate_private_key(65537, 1024)),  # noqa: S505 -- which is the point
        pem_of(ec.generate_private_key(ec.SECP256K1())),
        pem_of(ed25519.Ed25519PrivateKey.generate(), b"a password"),
    ],
    ids=["nothing", "cosign's own form", "public", "RSA of 1024 bits", "another curve", "without its password"],
)
def test_what_is_no_key_is_refused_at_start(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(pem)
    with pytest.raises(SigningKeyError, match="HARBORGUARD_SIGNING_KEY_FILE"):
        open_signer(Settings(data_dir=tmp_path, signing_key_file=path))


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="No such file"):
        open_signer(Settings(data_dir=tmp_path, signing_key_file=tmp_path / "none.pem"))


def test_a_wrong_password_is_refused() -> None:
    with pytest.raises(SigningKeyError):
        read_signer(pem_of(ed25519.Ed25519PrivateKey.generate(), b"right"), b"wrong")
