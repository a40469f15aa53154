"""Grype: vulnerabilities, by its own database, which it needs.

Output: the JSON document (github.com/anchore/grype, grype/presenter/models); artifacts are in Syft's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import EngineFailure, Object, mapping, moment, objects, parse_document, text, texts
from workers.engines.report import (
    MAX_FINDINGS,
    EngineReport,
    ImageFacts,
    LeftOut,
    Packages,
    at_most,
    findings,
    severity_of,
)
from workers.engines.syft import TYPES, read_artifact

# What says when a database was built: `import.json` since version 6 of its schema, `metadata.json` before.
_DESCRIPTIONS = ("import.json", "metadata.json")
_TIMES = ("built", "timestamp")


def _arguments(call: Call) -> Sequence[str]:
    return ("--quiet", "--output", "json", "--", f"oci-dir:{call.image}")


def _environment(call: Call) -> Mapping[str, str]:
    return {
        "GRYPE_CHECK_FOR_APP_UPDATE": "false",
        "GRYPE_DB_AUTO_UPDATE": "false",
        "GRYPE_DB_CACHE_DIR": str(_directory(call.databases)),
        # An old database is dated in the result; refusing it would say less.
        "GRYPE_DB_VALIDATE_AGE": "false",
    }


def _directory(databases: Path) -> Path:
    return databases / "grype" / "db"


def _database_date(databases: Path) -> datetime | None:
    """Of the highest schema version; a file without a date dates itself by when it was written."""
    versions = [each for each in _directory(databases).glob("[0-9]*") if each.name.isdecimal()]
    for directory in sorted(versions, key=lambda each: int(each.name), reverse=True):
        database = directory / "vulnerability.db"
        if database.is_file():
            return _stated_date(directory) or datetime.fromtimestamp(database.stat().st_mtime).astimezone()
    return None


def _stated_date(directory: Path) -> datetime | None:
    for name in _DESCRIPTIONS:
        try:
            described = parse_document((directory / name).read_bytes())
        except (OSError, EngineFailure):
            continue
        for key in _TIMES:
            if found := moment(described.get(key)):
                return found
    return None


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    if not isinstance(document.get("matches"), list):
        raise EngineFailure("printed a report without matches")
    packages, left_out = Packages(facts), LeftOut()
    kinds = (text(mapping(match.get("artifact")).get("type")) for match in objects(document["matches"]))
    left_out.findings.update(kind for kind in kinds if kind not in TYPES)
    return EngineReport(
        findings=at_most(MAX_FINDINGS, "findings", _findings(document["matches"], packages)),
        warnings=(*left_out.lines(), *packages.notes.lines()),
        unjudged=left_out.findings.total(),
    )


def _findings(matches: object, packages: Packages) -> Iterator[FindingRecord]:
    for match in objects(matches):
        stated = mapping(match.get("vulnerability"))
        related = list(objects(match.get("relatedVulnerabilities")))
        package = read_artifact(mapping(match.get("artifact")), packages)
        if package is not None:
            yield from findings(
                (text(each.get("id")) for each in (stated, *related)),
                package,
                severity=severity_of(text(stated.get("severity"))),
                vectors=(text(cvss.get("vector")) for each in (stated, *related) for cvss in objects(each.get("cvss"))),
                fixed=texts(mapping(stated.get("fix")).get("versions")),
                title=next(filter(None, (text(each.get("description")) for each in (stated, *related))), ""),
            )


ADAPTER = Adapter(
    engine=Engine.GRYPE,
    tool="grype",
    form=ImageForm.LAYOUT,
    arguments=_arguments,
    read=_read,
    environment=_environment,
    database_date=_database_date,
    needs_database=True,
    withheld=(
        ("source", "target", "config"),
        ("source", "target", "labels"),
        ("descriptor", "configuration"),
        ("descriptor", "db"),
    ),
)
