"""The policy alone: what fails, what decides, and that a narrower policy never fails more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client.answers import Finding, Scan
from app.client.policy import WORST_FIRST, ExitCode, Policy, judge, unused
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade


def finding(cve_id: str = "CVE-2024-1", **values: Any) -> Finding:
    given = {
        "id": f"fnd-{cve_id}",
        "cveId": cve_id,
        "aliases": [],
        "severity": "HIGH",
        "cvss": 7.5,
        "package": {"name": "openssl", "version": "3.0.1", "type": "deb"},
        "fixedVersions": ["3.0.2"],
        "fixable": True,
        "isNew": True,
        "status": "OPEN",
        "sources": ["native"],
        "layerIndex": 0,
    }
    return Finding.model_validate(given | values)


def scan(**values: Any) -> Scan:
    given: dict[str, Any] = {
        "id": "scn-1",
        "image": "docker.io/acme/api:1",
        "tagId": "tag-1",
        "comparedWith": None,
        "digest": None,
        "platform": "linux/amd64",
        "status": "COMPLETE",
        "partial": False,
        "compliance": "A",
        "gradeReason": None,
        "riskScore": 0,
        "counts": {"critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0},
        "packageCount": 1,
        "failureCode": None,
        "failureReason": None,
        "duration": 10,
        "scannedAt": "2026-01-01T00:00:00.000Z",
        "engines": [],
    }
    return Scan.model_validate(given | values)


def code(policy: Policy, *findings: Finding, **values: Any) -> ExitCode:
    return judge(policy, scan(**values), findings).code


FAIL_ON_HIGH = Policy(fail_on=Severity.HIGH)


@pytest.mark.parametrize(
    ("severity", "fails"), [("CRITICAL", True), ("HIGH", True), ("MEDIUM", False), ("LOW", False), ("UNKNOWN", False)]
)
def test_this_severity_or_worse(severity: str, fails: object) -> None:
    assert (code(FAIL_ON_HIGH, finding(severity=severity)) is ExitCode.POLICY_FAILED) is fails


def test_unknown_is_below_low_and_fails_on_any() -> None:
    nobody_rated_it = finding(severity="UNKNOWN")
    assert code(Policy(fail_on=Severity.LOW), nobody_rated_it) is ExitCode.CLEAN
    assert code(Policy(fail_on=Severity.UNKNOWN), nobody_rated_it) is ExitCode.POLICY_FAILED


def test_without_a_policy_nothing_fails() -> None:
    assert code(Policy(), finding(severity="CRITICAL"), compliance="D") is ExitCode.CLEAN
    assert code(Policy(), compliance=None) is ExitCode.CLEAN


@pytest.mark.parametrize("status", TriageStatus)
def test_only_what_is_open_counts(status: TriageStatus) -> None:
    closed = status in {TriageStatus.FIXED, TriageStatus.WONT_FIX}
    assert code(FAIL_ON_HIGH, finding(status=status)) is (ExitCode.CLEAN if closed else ExitCode.POLICY_FAILED)


def test_only_fixed() -> None:
    policy = Policy(fail_on=Severity.HIGH, only_fixed=True)
    assert code(policy, finding(fixable=False, fixedVersions=[])) is ExitCode.CLEAN
    assert code(policy, finding()) is ExitCode.POLICY_FAILED


def test_ignored_by_any_of_its_names() -> None:
    known_as = finding("CVE-2024-1", aliases=["GHSA-aaaa-bbbb-cccc"])
    for name in ("cve-2024-1", "GHSA-AAAA-bbbb-cccc"):
        assert code(Policy(fail_on=Severity.HIGH, ignored=(name,)), known_as) is ExitCode.CLEAN
    assert code(Policy(fail_on=Severity.HIGH, ignored=("CVE-2024-10",)), known_as) is ExitCode.POLICY_FAILED
    assert unused(["cve-2024-1", "CVE-2024-10"], [known_as]) == ["CVE-2024-10"]


def test_only_what_is_new() -> None:
    policy = Policy(fail_on=Severity.HIGH, new_only=True)
    assert code(policy, finding("CVE-2024-1", isNew=False)) is ExitCode.CLEAN
    assert code(policy, finding("CVE-2024-1", isNew=False), finding("CVE-2024-2", isNew=True)) is ExitCode.POLICY_FAILED


@pytest.mark.parametrize(("grade", "fails"), [("A", False), ("B", False), ("C", True), ("D", True)])
def test_this_grade_or_a_worse_one(grade: str, fails: object) -> None:
    policy = Policy(fail_on_grade=Grade.C)
    assert code(policy, compliance=grade) is (ExitCode.POLICY_FAILED if fails else ExitCode.CLEAN)


def test_what_nobody_could_judge_is_an_error() -> None:
    blind: dict[str, Any] = {"compliance": None, "gradeReason": "no advisory data for PyPI"}
    verdict = judge(FAIL_ON_HIGH, scan(**blind), [])
    assert verdict.code is ExitCode.ERROR
    assert "no advisory data for PyPI" in verdict.reasons[0]
    assert code(Policy(fail_on_grade=Grade.D), **blind) is ExitCode.ERROR
    assert code(Policy(fail_on=Severity.HIGH, allow_ungraded=True), **blind) is ExitCode.CLEAN


def test_the_policy_goes_first_then_blindness_then_partial() -> None:
    half: dict[str, Any] = {"partial": True, "engines": [engine("trivy", "FAILED"), engine("syft", "COMPLETE")]}
    assert code(Policy(), **half) is ExitCode.PARTIAL
    assert code(FAIL_ON_HIGH, **half) is ExitCode.PARTIAL
    assert code(FAIL_ON_HIGH, **half, compliance=None) is ExitCode.ERROR
    verdict = judge(FAIL_ON_HIGH, scan(**half, compliance=None), [finding()])
    assert verdict.code is ExitCode.POLICY_FAILED
    assert [reason.split()[-2:] for reason in verdict.reasons][-1] == ["trivy", "failed"]
    assert len(verdict.reasons) == 3


def engine(name: str, status: str) -> dict[str, Any]:
    return {
        "engine": name,
        "status": status,
        "provider": None,
        "message": None,
        "databaseDate": None,
        "coverage": [],
        "findingCount": 0,
        "packageCount": 0,
    }


FINDINGS = st.lists(
    st.builds(
        lambda number, severity, fixable, is_new, status: finding(
            f"CVE-2024-{number}", severity=severity, fixable=fixable, isNew=is_new, status=status
        ),
        st.integers(1, 5),
        st.sampled_from(Severity),
        st.booleans(),
        st.booleans(),
        st.sampled_from(TriageStatus),
    ),
    max_size=8,
)


@given(FINDINGS, st.sampled_from(Severity), st.sets(st.integers(1, 5)))
def test_narrower_never_fails_more(findings: list[Finding], severity: Severity, ignored: set[int]) -> None:
    wide = judge(Policy(fail_on=severity), scan(), findings).violations
    narrow = judge(
        Policy(fail_on=severity, only_fixed=True, new_only=True, ignored=tuple(f"CVE-2024-{n}" for n in ignored)),
        scan(),
        findings,
    ).violations
    stricter = judge(Policy(fail_on=WORST_FIRST[-1]), scan(), findings).violations
    assert set(identities(narrow)) <= set(identities(wide)) <= set(identities(stricter))


def identities(findings: tuple[Finding, ...]) -> list[int]:
    return [id(each) for each in findings]
