"""Reading an engine's output, in the child process of workers.analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import Engine
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure, Object, parse_document
from workers.engines.report import EngineReport, ImageFacts
from workers.secrets.search import redact, redact_document

_FACTS = TypeAdapter(ImageFacts)


def read_output(asked: Mapping[str, Any]) -> EngineReport:
    """Reads the file `output` of `engine`, and writes `evidence`. Raises ScanFailure for what is no report of it.

    A tool shows what it has found in the image: no text of either has a secret that we know one by.
    """
    adapter = ADAPTERS[Engine(asked["engine"])]
    try:
        document = parse_document(Path(asked["output"]).read_bytes())
        report = adapter.read(document, _FACTS.validate_python(asked["facts"]))
    except EngineFailure as failure:
        raise ScanFailure(FailureCode.ENGINES_FAILED, failure.message) from None
    Path(asked["evidence"]).write_bytes(orjson.dumps(redact_document(without(document, adapter.withheld))))
    return masked(report)


def masked(report: EngineReport) -> EngineReport:
    """What quotes the image, with its secrets masked. Packages and vulnerabilities quote nothing."""
    return replace(
        report,
        misconfigurations=tuple(
            replace(each, title=redact(each.title), evidence=tuple(map(redact, each.evidence)))
            for each in report.misconfigurations
        ),
        secrets=tuple(replace(each, masked=redact(each.masked)) for each in report.secrets),
        warnings=tuple(map(redact, report.warnings)),
    )


def without(document: Object, members: Sequence[Sequence[str]]) -> Object:
    """The document without the members at these paths, which lead into each object of a list."""
    kept = dict(document)
    for name, *below in members:
        inner = kept.get(name)
        if not below:
            kept.pop(name, None)
        elif isinstance(inner, dict):
            kept[name] = without(inner, [below])
        elif isinstance(inner, list):
            kept[name] = [without(each, [below]) if isinstance(each, dict) else each for each in inner]
    return kept
