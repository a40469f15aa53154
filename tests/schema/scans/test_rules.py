from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.scans.models import Engine, EngineRunStatus, ScanStatus
from schema.scans.rules import grade_reason, scan_outcome

COMPLETE, FAILED, SKIPPED = EngineRunStatus.COMPLETE, EngineRunStatus.FAILED, EngineRunStatus.SKIPPED


@pytest.mark.parametrize(
    ("runs", "status", "partial"),
    [
        ([COMPLETE], ScanStatus.COMPLETE, False),
        ([COMPLETE, SKIPPED], ScanStatus.COMPLETE, False),
        ([COMPLETE, FAILED], ScanStatus.COMPLETE, True),
        ([SKIPPED, SKIPPED], ScanStatus.COMPLETE, False),
        ([FAILED], ScanStatus.FAILED, False),
        ([FAILED, SKIPPED], ScanStatus.FAILED, False),
    ],
)
def test_outcome(runs: list[EngineRunStatus], status: ScanStatus, *, partial: bool) -> None:
    assert scan_outcome(runs) == (status, partial)


@given(st.lists(st.sampled_from([COMPLETE, FAILED, SKIPPED]), min_size=1))
def test_the_order_of_the_engines_does_not_matter(runs: list[EngineRunStatus]) -> None:
    assert scan_outcome(runs) == scan_outcome(sorted(runs))


@pytest.mark.parametrize(
    ("requested", "completed", "uncovered", "packages", "said"),
    [
        ([Engine.SYFT, Engine.DIVE], False, {}, 5, "No vulnerability engine was requested"),
        ([Engine.TRIVY], True, {}, 0, "No packages were found"),
        ([Engine.TRIVY], True, {"npm": 3, "Debian:12": 90}, 93, "Debian:12 (90 packages), npm (3 packages)"),
        ([Engine.TRIVY], False, {"npm": 3}, 3, "harborguard advisories import"),
        ([Engine.OSV, Engine.DIVE], False, {}, 3, "No vulnerability engine produced a result"),
    ],
)
def test_why_there_is_no_grade(
    requested: list[Engine], uncovered: dict[str, int], packages: int, said: str, *, completed: bool
) -> None:
    reason = grade_reason(requested, completed=completed, uncovered=uncovered, packages=packages, unread=())

    assert reason is not None
    assert said in reason


def test_packages_nobody_read_never_get_a_grade() -> None:
    """A clean Python package in an RPM image says nothing about the RPM packages."""
    reason = grade_reason(
        [Engine.TRIVY], completed=True, uncovered={}, packages=1, unread=("the RPM packages of Rocky Linux 9",)
    )
    assert reason is not None
    assert "the RPM packages of Rocky Linux 9" in reason


@pytest.mark.parametrize("engine", [Engine.TRIVY, Engine.GRYPE, Engine.OSV])
def test_a_result_on_complete_data_is_graded(engine: Engine) -> None:
    assert grade_reason([engine, Engine.DOCKLE], completed=True, uncovered={}, packages=1, unread=()) is None


@given(
    st.lists(st.sampled_from(list(Engine))),
    st.dictionaries(st.sampled_from(["npm", "PyPI"]), st.integers(1, 9), min_size=1),
    st.integers(0, 9),
)
def test_an_uncovered_ecosystem_never_gets_a_grade(
    requested: list[Engine], uncovered: dict[str, int], packages: int
) -> None:
    for completed in (True, False):
        assert (
            grade_reason(requested, completed=completed, uncovered=uncovered, packages=packages, unread=()) is not None
        )
