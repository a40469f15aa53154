"""What code scanning needs of a SARIF document beyond its schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.documents import sarif
from schema.documents.contents import ScanContents
from schema.scans.models import Engine
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_of_score
from tests.schema.documents.factories import FINDINGS, contents, engine, finding, misconfiguration, secret


def runs(scan: ScanContents, **options: bool) -> list[Any]:
    found: list[Any] = json.loads(sarif.render(scan, **options))["runs"]
    return found


def results(scan: ScanContents) -> list[Any]:
    found: list[Any] = runs(scan)[0]["results"]
    return found


def only(**values: Any) -> ScanContents:
    given: dict[str, Any] = {"findings": (), "misconfigurations": (), "secrets": ()}
    return contents(**{**given, **values})


def prints(scan: ScanContents) -> set[str]:
    return {result["partialFingerprints"]["primaryLocationLineHash"] for result in results(scan)}


@pytest.mark.parametrize(
    "other",
    [
        finding(package_version="3.0.9", fixed_versions=("3.1",)),
        finding(path="elsewhere/status", layer_index=7, layer_digest="sha256:" + "9" * 64),
        finding(severity=Severity.LOW, cvss=1.0, title="Another title", status=TriageStatus.ACKNOWLEDGED),
    ],
    ids=["version", "place", "rating"],
)
def test_a_finding_keeps_its_fingerprint(other: Any) -> None:
    before = only(findings=(finding(),))
    after = only(findings=(other,), reference="ghcr.io/acme/api:2.0", digest="sha256:" + "e" * 64, scan_id="scn-2")
    assert prints(before) == prints(after)


@pytest.mark.parametrize(
    "after",
    [
        only(findings=(finding("CVE-2024-9"),)),
        only(findings=(finding(package_name="libssl3"),)),
        only(findings=(finding(),), image="ghcr.io/acme/web"),
    ],
    ids=["flaw", "package", "image"],
)
def test_another_thing_has_another_fingerprint(after: ScanContents) -> None:
    assert prints(only(findings=(finding(),))).isdisjoint(prints(after))


@given(findings=st.lists(FINDINGS, max_size=8))
def test_no_two_results_have_the_same_fingerprint(findings: list[Any]) -> None:
    scan = only(findings=(*findings, *findings[:2]))
    assert len(prints(scan)) == len(results(scan))


def test_versions_of_a_package_are_one_result_with_every_place() -> None:
    old = finding(package_version="1.0", path="srv/a", cvss=9.0)
    scan = only(findings=(finding(package_version="2.0", path="srv/b"), old))
    (result,) = results(scan)
    assert "openssl 1.0, 2.0" in result["message"]["text"]
    places = [each["physicalLocation"]["artifactLocation"]["uri"] for each in result["locations"]]
    assert places == ["srv/a", "srv/b"]


def test_what_is_over_the_limit_is_left_out_by_priority_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 3)
    many = [finding(f"CVE-2024-{n}", Severity.LOW) for n in range(5)] + [finding("CVE-2020-1", Severity.CRITICAL)]
    (run,) = runs(only(findings=tuple(many), secrets=(secret(),)))
    assert [each["ruleId"] for each in run["results"]] == ["CVE-2020-1", "aws-access-key-id", "CVE-2024-0"]
    assert len(run["tool"]["driver"]["rules"]) == 3
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("7 results; the 3 of the highest priority are listed, 4 are left out")


def test_places_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_LOCATIONS", 2)
    scan = only(misconfigurations=tuple(misconfiguration(path=f"usr/bin/{n}") for n in range(5)))
    assert len(results(scan)[0]["locations"]) == 2


@given(
    severity=st.sampled_from([each for each in Severity if each is not Severity.UNKNOWN]),
    score=st.none() | st.floats(0, 10),
)
def test_a_code_host_shows_our_severity(severity: Severity, score: float | None) -> None:
    written = sarif.security_severity(severity, score)
    assert written is not None
    assert severity_of_score(float(written)) is severity
    assert 0 < float(written) <= 10


def test_an_unrated_flaw_has_no_number() -> None:
    (run,) = runs(only(findings=(finding(severity=Severity.UNKNOWN, cvss=9.8),)))
    assert "security-severity" not in run["tool"]["driver"]["rules"][0]["properties"]
    assert run["results"][0]["level"] == "warning"


def test_rules_have_help_and_few_tags() -> None:
    (run,) = runs(contents())
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["help"]["text"]
        assert len(rule["properties"]["tags"]) <= sarif.MAX_TAGS
        assert "security" in rule["properties"]["tags"]


def test_each_result_points_to_its_rule_and_no_rule_is_there_twice() -> None:
    (run,) = runs(contents())
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids))
    assert [ids[each["ruleIndex"]] for each in run["results"]] == [each["ruleId"] for each in run["results"]]


def test_a_flaw_of_several_packages_is_rated_as_the_worst_of_them() -> None:
    scan = only(
        findings=(finding(severity=Severity.LOW, package_name="a"), finding(severity=Severity.CRITICAL, cvss=9.9))
    )
    (rule,) = runs(scan)[0]["tool"]["driver"]["rules"]
    assert rule["properties"]["security-severity"] == "9.9"


def test_misconfigurations_and_secrets_are_results() -> None:
    found = {each["ruleId"]: each for each in results(contents())}
    assert found["CIS-DI-0001"]["message"]["text"] == "The container runs as root: USER is not set"
    assert found["CIS-DI-0008"]["locations"][0]["logicalLocations"][0]["kind"] == "layer"
    assert found["aws-access-key-id"]["locations"][0]["physicalLocation"]["region"]["startLine"] == 3


def test_dismissed_findings_are_suppressed() -> None:
    states = {each["ruleId"]: each.get("suppressions") for each in results(contents())}
    assert states["GHSA-x-y-z"] == [{"kind": "external", "status": "accepted", "justification": "WONT_FIX"}]
    assert states["CVE-2024-1"] is None


def test_a_run_for_each_provider_holds_what_that_provider_reported() -> None:
    scan = contents(
        engines=(engine(Engine.TRIVY, "trivy 0.76.0"), engine(Engine.DOCKLE), engine(Engine.OSV, None)),
        findings=(finding("CVE-1", sources=("trivy",)), finding("CVE-2", sources=("native", "trivy"))),
        secrets=(),
    )
    native, trivy = runs(scan, per_engine=True)
    assert (native["tool"]["driver"]["name"], native["tool"]["driver"]["version"]) == ("native", "0.1.0")
    assert [each["ruleId"] for each in trivy["results"]] == ["CVE-1", "CVE-2"]
    assert [each["ruleId"] for each in native["results"]] == ["CVE-2", "CIS-DI-0001", "CIS-DI-0008"]
    assert native["automationDetails"]["id"] == "harborguard:ghcr.io/acme/api:1.4.7:native/"
    assert trivy["automationDetails"]["id"] == "harborguard:ghcr.io/acme/api:1.4.7:trivy/"


def test_a_digest_alone_makes_a_category_without_a_tag() -> None:
    digest = "sha256:" + "d" * 64
    (run,) = runs(contents(reference=f"ghcr.io/acme/api@{digest}"))
    assert run["automationDetails"]["id"] == "harborguard:ghcr.io/acme/api/"
