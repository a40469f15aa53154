"""What is signed about the image of a scan: found beside it, verified by the keys its organization trusts, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization

from schema.kernel.public_keys import describe
from schema.scans.failures import ScanFailure
from schema.scans.models import Scan, SourceKind
from schema.statements.repository import list_keys
from schema.statements.verifying import Trusted, verify
from workers.fetching import fetch_envelopes
from workers.oci.beside import Envelope
from workers.runtime import WorkerRuntime

MAX_MESSAGE = 500


async def trusted_keys(scan: Scan, runtime: WorkerRuntime) -> list[Trusted]:
    """None where there is no registry to look in: then nobody looks, and no registry is asked more than before."""
    if scan.source_kind is not SourceKind.REGISTRY:
        return []
    async with runtime.services.database.read() as session:
        rows = await list_keys(session, scan.organization_id)
    return [
        Trusted(row.name, row.fingerprint, describe(serialization.load_pem_public_key(row.pem.encode())).key)
        for row in rows
    ]


async def find_statements(
    scan: Scan, runtime: WorkerRuntime, digest: str, trusted: list[Trusted]
) -> tuple[list[dict[str, Any]], str | None]:
    """(rows of what was found, a warning where the registry did not tell). The scan goes on either way."""
    try:
        beside = await fetch_envelopes(scan, runtime, digest)
    except ScanFailure as failure:
        return [], f"Whether the image has signed statements is not known: {failure.message}"
    now = runtime.services.clock()
    rows = [
        {"scan_id": scan.id, "organization_id": scan.organization_id, "found_at": now}
        | await asyncio.to_thread(_judged, envelope, beside.names, trusted)
        for envelope in beside.envelopes
    ]
    return rows, None


def _judged(envelope: Envelope, names: Sequence[str], trusted: list[Trusted]) -> dict[str, Any]:
    verdict = verify(envelope.content, names, trusted)
    return {
        "digest": envelope.digest,
        "outcome": verdict.outcome,
        "predicate_type": verdict.predicate_type,
        "signed_by": verdict.signed_by.name if verdict.signed_by else None,
        "fingerprint": verdict.signed_by.fingerprint if verdict.signed_by else None,
        "message": verdict.message[:MAX_MESSAGE],
        "size_bytes": len(envelope.content),
    }
