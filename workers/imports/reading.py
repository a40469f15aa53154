"""Reading a report that was made elsewhere, in the child process of workers.analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.formats import ReportFormat, recognise, unknown_format
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure, Object
from workers.engines.reading import masked, without
from workers.imports import cyclonedx, sarif, sensor, spdx, tools
from workers.imports.report import Envelope, ImportedReport
from workers.secrets.search import redact, redact_document

_SHARED = {
    ReportFormat.CYCLONEDX: cyclonedx.read,
    ReportFormat.SARIF: sarif.read,
    ReportFormat.SENSOR: sensor.read,
    ReportFormat.SPDX: spdx.read,
}


def read_import(asked: Mapping[str, Any]) -> ImportedReport:
    """Reads the file `report`, which its sender says is of `format`, and writes `evidence`, without what could be a secret.

    Raises ScanFailure: REPORT_INVALID for what is no such report.
    """
    stated = ReportFormat(asked["format"]) if asked["format"] else None
    document, format_ = _recognised(Path(asked["report"]).read_bytes(), stated)
    try:
        imported = read_document(format_, document)
    except EngineFailure as failure:
        message = f"The report is no usable {format_.label}: whoever made it {failure.message}"
        raise ScanFailure(FailureCode.REPORT_INVALID, message) from None
    engine = imported.engine
    kept = without(document, ADAPTERS[engine].withheld) if engine is not None else document
    if imported.observation is not None:
        kept = {}  # it holds what each of its tools printed
    Path(asked["evidence"]).write_bytes(orjson.dumps(redact_document(kept)))
    return replace(imported, report=masked(imported.report), envelope=imported.envelope and _masked(imported.envelope))


def _masked(envelope: Envelope) -> Envelope:
    return replace(
        envelope,
        told=tuple(replace(each, report=masked(each.report)) for each in envelope.told),
        layers=tuple(replace(each, created_by=redact(each.created_by)) for each in envelope.layers),
    )


def read_document(format_: ReportFormat, document: Object) -> ImportedReport:
    """Raises EngineFailure."""
    return _SHARED[format_](document) if format_ in _SHARED else tools.read(format_, document)


def _recognised(content: bytes, stated: ReportFormat | None) -> tuple[Object, ReportFormat]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        message = f"The report is not valid JSON: {error.msg} at line {error.lineno}"
        raise ScanFailure(FailureCode.REPORT_INVALID, message) from None
    found = recognise(document) if isinstance(document, dict) else None
    if found is None and stated is ReportFormat.SENSOR and isinstance(document, dict):
        return document, stated  # its reader has the last word
    if found is None:
        raise ScanFailure(FailureCode.REPORT_INVALID, unknown_format().message)
    if stated not in {None, found}:
        raise ScanFailure(
            FailureCode.REPORT_INVALID, f"The report is {found.label}, and not of the format it was sent as"
        )
    return document, found
