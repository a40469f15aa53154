"""in-toto statements about an image (in-toto/attestation, Statement v1): what a scan found in it, or what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from schema.documents import cyclonedx, spdx
from schema.documents.contents import FindingEntry, ScanContents
from schema.documents.product import PRODUCT, VERSION
from schema.kernel.clock import iso_utc
from schema.kernel.errors import conflict

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class StatementPredicate(StrEnum):
    """Published, so append-only."""

    VULNS = "vulns"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


@dataclass(frozen=True, slots=True)
class _Predicate:
    type: str
    write: Callable[[ScanContents], Any]


def statement(contents: ScanContents, wanted: StatementPredicate) -> bytes:
    """The statement as JSON. CONFLICT when the scan knows no digest, or does not know all it would state."""
    algorithm, _, digest = (contents.digest or "").partition(":")
    if not digest:
        raise conflict("The scan has no digest, so a statement about it would be about no image in particular")
    predicate = _PREDICATES[wanted]
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": contents.image, "digest": {algorithm: digest}}],
        "predicateType": predicate.type,
        "predicate": predicate.write(contents),
    }
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _vulns(contents: ScanContents) -> dict[str, Any]:
    """In a statement an empty list means that there is nothing, so nobody may sign one who could not look everywhere."""
    if contents.partial or contents.grade is None:
        reason = contents.grade_reason or "an engine failed"
        raise conflict(f"The scan does not know every vulnerability of the image: {reason}")
    dates = [run.database_date for run in contents.engines if run.database_date is not None]
    scanner: dict[str, Any] = {
        "uri": f"pkg:pypi/{PRODUCT.lower()}@{VERSION}",
        "version": VERSION,
        "result": [_result(finding) for finding in contents.findings],
    }
    if dates:
        scanner["db"] = {"lastUpdate": iso_utc(min(dates))}  # of several, all are at least as new
    times = {"scanStartedOn": iso_utc(contents.started_at), "scanFinishedOn": iso_utc(contents.scanned_at)}
    return {"scanner": scanner, "metadata": times}


def _result(finding: FindingEntry) -> dict[str, Any]:
    return {"id": finding.flaw, "severity": [*_scores(finding)], "annotations": [*_annotations(finding)]}


def _scores(finding: FindingEntry) -> Iterator[dict[str, str]]:
    yield {"method": "harborguard", "score": finding.severity.value.lower()}
    if finding.cvss is not None:
        yield {"method": "cvss_score", "score": str(finding.cvss)}
    yield from ({"method": "cvss_vector", "score": vector} for vector in finding.cvss_vectors)


def _annotations(finding: FindingEntry) -> Iterator[dict[str, str]]:
    known = {
        "package": f"{finding.package_type.value}/{finding.package_name}@{finding.package_version}",
        "fixedVersions": ", ".join(finding.fixed_versions),
        "triageStatus": finding.status.value,
        "foundBy": ", ".join(finding.sources),
    }
    return ({"key": name, "value": value} for name, value in known.items() if value)


_PREDICATES = {
    StatementPredicate.VULNS: _Predicate("https://in-toto.io/attestation/vulns/v0.1", _vulns),
    StatementPredicate.CYCLONEDX: _Predicate(
        "https://cyclonedx.org/bom", lambda contents: orjson.loads(cyclonedx.render(contents))
    ),
    StatementPredicate.SPDX: _Predicate(
        "https://spdx.dev/Document", lambda contents: orjson.loads(spdx.render(contents))
    ),
}
