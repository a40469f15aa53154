"""Dockle: configuration checks. Reads an archive as `docker save` writes it.

Output: its JSON report (github.com/goodwithtech/dockle, pkg/report/json.go).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from schema.scans.evidence import CheckLevel, MisconfigurationRecord
from schema.scans.models import Engine
from schema.vulnerabilities.records import Severity
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import EngineFailure, Object, objects, text, texts
from workers.engines.report import MAX_CHECKS, EngineReport, ImageFacts, at_most

SEVERITIES = {CheckLevel.FATAL: Severity.HIGH, CheckLevel.WARN: Severity.MEDIUM, CheckLevel.INFO: Severity.LOW}
_PASSED = frozenset({"PASS", "SKIP", "IGNORE"})
_CHECK_ID = 40


def _arguments(call: Call) -> Sequence[str]:
    return (
        *("--input", str(call.image)),
        *("--format", "json"),
        *("--exit-code", "0"),
        *("--timeout", f"{call.seconds}s"),
        *("--cache-dir", str(call.directory)),
        "--quiet",
    )


def _environment(_: Call) -> Mapping[str, str]:
    return {"NO_COLOR": "1"}


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    del facts
    if "summary" not in document or not isinstance(document.get("details"), list | None):
        raise EngineFailure("printed a report without checks")
    return EngineReport(misconfigurations=at_most(MAX_CHECKS, "checks", _checks(document.get("details"))))


def _checks(details: object) -> Iterator[MisconfigurationRecord]:
    """Failed ones; a level we do not know is INFO, of unknown severity."""
    for detail in objects(details):
        code, stated = text(detail.get("code"), _CHECK_ID), text(detail.get("level")).upper()
        if not code or stated in _PASSED:
            continue
        known = CheckLevel.__members__.get(stated)
        yield MisconfigurationRecord(
            check_id=code,
            title=text(detail.get("title")),
            level=known or CheckLevel.INFO,
            severity=SEVERITIES[known] if known else Severity.UNKNOWN,
            evidence=texts(detail.get("alerts")),
            remediation="",
        )


ADAPTER = Adapter(
    engine=Engine.DOCKLE,
    tool="dockle",
    form=ImageForm.ARCHIVE,
    arguments=_arguments,
    read=_read,
    environment=_environment,
)
