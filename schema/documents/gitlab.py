"""GitLab's container-scanning report, schema 15.0.7: what a job uploads as `artifacts:reports:container_scanning`.

The format has a place for vulnerabilities only; misconfigurations and secrets are left out.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from schema.documents.contents import FindingEntry, ScanContents
from schema.documents.flaws import page_of, publisher_of
from schema.documents.identity import content_uuid, write_json
from schema.documents.product import PRODUCT, VERSION

MEDIA_TYPE = "application/json"

SCHEMA_VERSION = "15.0.7"  # known to every GitLab since 16.4
# What the schema allows, in characters and entries; GitLab refuses the whole report for a single one over it.
MAX_NAME = 255
MAX_SOLUTION = 7_000
MAX_IDENTIFIERS = 20


def render(contents: ScanContents) -> bytes:
    tool = {
        "id": PRODUCT.lower(),
        "name": PRODUCT,
        "vendor": {"name": PRODUCT},
        "version": VERSION,
    }
    moment = contents.scanned_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return write_json(
        {
            "version": SCHEMA_VERSION,
            "scan": {
                "analyzer": tool,
                "scanner": tool,
                "type": "container_scanning",
                "status": "success",
                "start_time": moment,
                "end_time": moment,
            },
            "vulnerabilities": [_vulnerability(contents, finding) for finding in contents.findings],
            "remediations": [],
        }
    )


def _vulnerability(contents: ScanContents, finding: FindingEntry) -> dict[str, Any]:
    subject = [contents.image, finding.flaw, *finding.package]
    title = finding.title or finding.flaw
    return {
        "id": str(content_uuid(subject)),
        "name": f"{finding.flaw} in {finding.package_name} {finding.package_version}"[:MAX_NAME],
        "description": title,
        "severity": finding.severity.value.capitalize(),
        "solution": finding.advice[:MAX_SOLUTION],
        "identifiers": [_identifier(flaw) for flaw in (finding.flaw, *finding.aliases)[:MAX_IDENTIFIERS]],
        "links": [{"url": page_of(finding.flaw)}],
        "location": {
            "dependency": {"package": {"name": finding.package_name}, "version": finding.package_version},
            "operating_system": (contents.operating_system or "unknown")[:MAX_NAME],
            "image": contents.reference,
        },
    }


def _identifier(flaw: str) -> dict[str, str]:
    return {"type": publisher_of(flaw).kind, "name": flaw, "value": flaw, "url": page_of(flaw)}
