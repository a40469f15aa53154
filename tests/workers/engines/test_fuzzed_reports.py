"""T-52: real reports with parts of them replaced, removed, doubled or cut off are read or are one clear failure.

Syft, Trivy and Dive are run for real reports; of the engines without a binary the shapes of test_reports.py are mutated.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.scans.failures import ScanFailure
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine
from tests.tools import REAL_TOOLS
from tests.workers.engines.conftest import Bench
from tests.workers.engines.test_reports import DOCKLE, GRYPE, OSV, TRIVY, facts
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure
from workers.engines.reading import read_output
from workers.engines.report import EngineReport

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**64 - 1,
    1.5,
    "",
    "\x00\x1b[2J\u202e",
    "x" * 10_000,
    "../" * 50,
    "=cmd|' /C calc'!A0",
    [],
    {},
    [[[]]],
    {"": {}},
    ["x"] * 2000,
)


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Engine, bytes]]:
    answers = asyncio.run(Bench(tmp_path_factory.mktemp("reports")).run(REAL_TOOLS))
    real = {engine.value: (engine, answer.output or b"") for engine, answer in answers.items()}
    assert all(answer.report is not None for answer in answers.values())
    shapes = ((Engine.GRYPE, GRYPE), (Engine.DOCKLE, DOCKLE), (Engine.OSV, OSV), (Engine.TRIVY, TRIVY))
    return real | {f"{engine} shape": (engine, orjson.dumps(shape)) for engine, shape in shapes}


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from places(inner, (*here, key))


def mutate(document: Any, place: tuple[Any, ...], change: str, value: Any) -> None:
    *way, last = place
    for key in way:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return  # an earlier change took it away
    try:
        if change == "remove":
            del document[last]
        elif change == "double" and isinstance(document, list):
            document.extend(copy.deepcopy(document[last:]))
        else:
            document[last] = copy.deepcopy(value)  # a later change may go into it
    except (KeyError, IndexError, TypeError):
        return


@pytest.mark.parametrize("name", ["syft", "trivy", "dive", "grype shape", "dockle shape", "osv shape", "trivy shape"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_reports(name: str, reports: dict[str, tuple[Engine, bytes]], data: st.DataObject) -> None:
    engine, raw = reports[name]
    document = orjson.loads(raw)
    known = sorted(places(document), key=repr)
    changes = st.tuples(
        st.sampled_from(known), st.sampled_from(("replace", "remove", "double")), st.sampled_from(HOSTILE)
    )
    for place, change, value in data.draw(st.lists(changes, min_size=1, max_size=12)):
        mutate(document, place, change, value)
    try:
        report = ADAPTERS[engine].read(document, facts())
    except EngineFailure:
        return
    check(report)


def check(report: EngineReport) -> None:
    """What is read can be stored: lengths of columns, characters, numbers."""
    for package in report.packages or ():
        assert 0 < len(package.name) <= 300
        assert 0 < len(package.version) <= 300
        assert len(package.purl) <= 1000
        assert len(package.path) <= 4096
        assert package.path.isprintable()
        assert -1 <= package.layer_index < len(facts().diff_ids)
    for finding in report.findings or ():
        assert 0 < len(finding.vulnerability_id) <= 60
        assert len(finding.title) <= 500
        assert finding.title.isprintable()
    for title, path in (
        *((each.title, each.path) for each in report.misconfigurations),
        *((each.title, each.path) for each in report.secrets),
    ):
        assert title.isprintable()
        assert path.isprintable()
    if report.efficiency is not None:
        assert 0.0 <= report.efficiency.efficiency <= 1.0
        assert 0 <= report.efficiency.wasted_bytes < 2**63
    merge([Voice(source="tool", packages=report.packages or (), findings=report.findings or ())])
    orjson.dumps(report)


@pytest.mark.parametrize("name", ["syft", "trivy", "dive"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_off_reports_leave_nothing(
    name: str, reports: dict[str, tuple[Engine, bytes]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Zero partial writes: a report that cannot be read leaves no evidence either."""
    engine, raw = reports[name]
    cut = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
    directory: Path = tmp_path_factory.mktemp("cut")
    (directory / "output").write_bytes(raw[:cut])
    asked: dict[str, Any] = {
        "engine": engine.value,
        "output": str(directory / "output"),
        "evidence": str(directory / "evidence"),
        "facts": {"system": None, "diff_ids": []},
    }
    with pytest.raises(ScanFailure):
        read_output(asked)
    assert not (directory / "evidence").exists()
