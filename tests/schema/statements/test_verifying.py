"""What a signed statement is worth: only what a trusted key has signed, and only for the image it names."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from app.signing import read_signer
from schema.documents.dsse import authenticated
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.public_keys import describe, has_signed
from schema.statements.models import StatementOutcome
from schema.statements.verifying import Trusted, read_public_key, verify
from tests.app.test_signing import pem_of
from tests.factories.statements import SLSA, envelope, new_key, public_pem, statement

IMAGE, INDEX, OTHER = ("sha256:" + letter * 64 for letter in "abc")
OURS, THEIRS = new_key(), new_key()
TRUSTED = [Trusted("release", describe(OURS.public_key()).fingerprint, OURS.public_key())]


def outcome(document: Any) -> tuple[StatementOutcome, str | None, str | None]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    verdict = verify(content, [IMAGE, INDEX], TRUSTED)
    return verdict.outcome, verdict.predicate_type, verdict.signed_by.name if verdict.signed_by else None


@pytest.mark.parametrize("digests", [[IMAGE], [INDEX], [OTHER, IMAGE]])
def test_a_trusted_key_speaks_for_the_image_and_its_index(digests: list[str]) -> None:
    assert outcome(envelope(statement(*digests), OURS)) == (StatementOutcome.VERIFIED, SLSA, "release")


def test_one_of_several_signatures_is_enough() -> None:
    assert outcome(envelope(statement(IMAGE), THEIRS, OURS))[0] is StatementOutcome.VERIFIED


def test_a_bundle_is_worth_what_its_envelope_is() -> None:
    bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}}
    assert outcome(bundle | {"dsseEnvelope": envelope(statement(IMAGE), OURS)})[0] is StatementOutcome.VERIFIED
    assert outcome(bundle | {"dsseEnvelope": envelope(statement(IMAGE), THEIRS)})[0] is StatementOutcome.UNTRUSTED


def test_another_key_is_not_believed() -> None:
    assert outcome(envelope(statement(IMAGE), THEIRS)) == (StatementOutcome.UNTRUSTED, SLSA, None)


def test_a_changed_statement_is_not_believed() -> None:
    signed = envelope(statement(OTHER), OURS)
    assert outcome(signed | {"payload": envelope(statement(IMAGE))["payload"]})[0] is StatementOutcome.UNTRUSTED


def test_a_signature_of_the_payload_alone_is_not_believed() -> None:
    """Without its type what was signed may be something else."""
    signed = envelope(statement(IMAGE), OURS)
    bare = OURS.sign(statement(IMAGE), ec.ECDSA(hashes.SHA256()))
    resigned = signed | {"signatures": [{"sig": base64.b64encode(bare).decode()}]}
    assert outcome(resigned)[0] is StatementOutcome.UNTRUSTED


@pytest.mark.parametrize("digests", [[], [OTHER], ["sha512:" + "a" * 64]])
def test_a_statement_about_something_else_says_so(digests: list[str]) -> None:
    assert outcome(envelope(statement(*digests), OURS)) == (StatementOutcome.OTHER_IMAGE, SLSA, "release")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        {},
        envelope(statement(IMAGE)),
        envelope(statement(IMAGE), *[OURS] * 21),
        envelope(statement(IMAGE), OURS, payloadType="text/plain"),
        envelope(statement(IMAGE), OURS) | {"payload": "%%%"},
        envelope(statement(IMAGE), OURS, signatures=[{"sig": "%"}]),
        envelope(b"[]", OURS),
        envelope(statement(IMAGE, _type="https://example.org/other"), OURS),
        {"dsseEnvelope": []},
    ],
    ids=range(11),
)
def test_what_is_no_signed_statement_is_unreadable(document: Any) -> None:
    assert outcome(document)[0] is StatementOutcome.UNREADABLE


@pytest.mark.parametrize("subject", [None, {}, [None], [{}], [{"digest": []}]])
def test_a_subject_of_another_shape_is_no_image(subject: Any) -> None:
    assert outcome(envelope(statement(subject=subject), OURS))[0] is StatementOutcome.OTHER_IMAGE


@given(
    st.recursive(st.none() | st.booleans() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_whatever_the_document_it_is_not_verified(document: Any) -> None:
    assert outcome({"payloadType": "application/vnd.in-toto+json", "signatures": document, "payload": document})[0] in {
        StatementOutcome.UNREADABLE,
        StatementOutcome.UNTRUSTED,
    }


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "p384", "ed25519", "rsa"],
)
async def test_what_we_sign_we_verify(key: Any) -> None:
    signed = authenticated("type", b"payload")
    signature = await read_signer(pem_of(key), None).sign(signed)
    public = read_public_key(public_pem(key)).key
    assert has_signed(public, signed, signature)
    assert not has_signed(public, signed + b" ", signature)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem_of(OURS).decode(),
        public_pem(ec.generate_private_key(ec.SECP256K1())),
        public_pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 -- which is the point
    ],
    ids=["nothing", "broken", "private", "another curve", "RSA of 1024 bits"],
)
def test_what_is_no_key_is_refused(pem: str) -> None:
    with pytest.raises(HarborGuardError) as raised:
        read_public_key(pem)
    assert raised.value.code is ErrorCode.BAD_REQUEST
