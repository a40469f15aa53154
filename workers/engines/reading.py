"""Reading an engine's output, in the child process of workers.analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import Engine
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure, Object, parse_document
from workers.engines.report import EngineReport, ImageFacts

_FACTS = TypeAdapter(ImageFacts)


def read_output(asked: Mapping[str, Any]) -> EngineReport:
    """Reads the file `output` of `engine`, and writes `evidence`. Raises ScanFailure for what is no report of it."""
    adapter = ADAPTERS[Engine(asked["engine"])]
    try:
        document = parse_document(Path(asked["output"]).read_bytes())
        report = adapter.read(document, _FACTS.validate_python(asked["facts"]))
    except EngineFailure as failure:
        raise ScanFailure(FailureCode.ENGINES_FAILED, failure.message) from None
    Path(asked["evidence"]).write_bytes(orjson.dumps(without(document, adapter.withheld)))
    return report


def without(document: Object, members: Sequence[Sequence[str]]) -> Object:
    """The document without the members at these paths."""
    kept = dict(document)
    for name, *below in members:
        inner = kept.get(name)
        if not below:
            kept.pop(name, None)
        elif isinstance(inner, dict):
            kept[name] = without(inner, [below])
    return kept
