"""Severities an envelope does not have, from our own advisories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from schema.advisories.osv import is_cve
from schema.advisories.repository import Rating, ratings
from schema.kernel.database import Database
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import choose_score
from workers.imports.report import Envelope, Told


async def rated(envelope: Envelope, database: Database) -> Envelope:
    """Findings of unknown severity as our advisories rate them, and under the CVE's name where those know it."""
    names = {
        name
        for told in envelope.told
        for finding in told.report.findings or ()
        if finding.severity is Severity.UNKNOWN
        for name in (finding.vulnerability_id, *finding.aliases)
    }
    if not names:
        return envelope
    async with database.snapshot() as session:
        known = await ratings(session, names)
    return replace(envelope, told=tuple(_told(each, known) for each in envelope.told))


def _told(told: Told, known: Mapping[str, Rating]) -> Told:
    if told.report.findings is None:
        return told
    findings = tuple(_finding(each, known) for each in told.report.findings)
    return replace(told, report=replace(told.report, findings=findings))


def _finding(finding: FindingRecord, known: Mapping[str, Rating]) -> FindingRecord:
    name = finding.vulnerability_id
    rating = known.get(name) if finding.severity is Severity.UNKNOWN else None
    if rating is None:
        return finding
    score = choose_score(rating.cvss_vectors)
    severity = score.severity if score else rating.severity
    if rating.cve is not None and not is_cve(name):
        finding = replace(finding, vulnerability_id=rating.cve, aliases=(name, *finding.aliases))
    return replace(
        finding,
        severity=severity,
        cvss_score=score.score if score else finding.cvss_score,
        cvss_vectors=rating.cvss_vectors or finding.cvss_vectors,
    )
