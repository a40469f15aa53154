"""DSSE envelopes (secure-systems-lab/dsse, protocol and envelope 1.0): a payload, its type, and who signed both."""

from __future__ import annotations

import base64

from schema.documents.identity import write_json
from schema.kernel.ports import StatementSigner

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"


def authenticated(payload_type: str, payload: bytes) -> bytes:
    """What is signed (PAE): no payload of one type can pass for one of another."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


async def seal(payload_type: str, payload: bytes, signer: StatementSigner) -> bytes:
    """The envelope, as JSON."""
    signature = await signer.sign(authenticated(payload_type, payload))
    return write_json(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": signer.public.fingerprint, "sig": base64.b64encode(signature).decode()}],
        }
    )
