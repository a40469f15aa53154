"""What pipelines and people read: GitLab's report, JUnit, and the summary."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from schema.documents import gitlab, junit, markdown
from schema.vulnerabilities.models import TriageStatus
from tests.schema.documents.factories import HARD, contents, finding


def test_gitlab_shows_a_finding() -> None:
    (found,) = json.loads(gitlab.render(contents(findings=(finding(),))))["vulnerabilities"]
    assert found["severity"] == "High"
    assert found["solution"] == "Update openssl to 3.0.2."
    assert [each["type"] for each in found["identifiers"]] == ["cve", "ghsa", "osv"]
    assert found["location"] == {
        "dependency": {"package": {"name": "openssl"}, "version": "3.0.1"},
        "operating_system": "Debian GNU/Linux 12 (bookworm)",
        "image": "ghcr.io/acme/api:1.4.7",
    }


def test_gitlab_gets_no_more_than_its_schema_allows() -> None:
    many = finding(
        aliases=tuple(f"GHSA-{n}" for n in range(50)),
        package_name="p" * 300,
        fixed_versions=tuple(f"{n}.{'0' * 200}" for n in range(50)),
    )
    (found,) = json.loads(gitlab.render(contents(findings=(many,))))["vulnerabilities"]
    assert len(found["identifiers"]) == gitlab.MAX_IDENTIFIERS
    assert len(found["name"]) == gitlab.MAX_NAME
    assert len(found["solution"]) == gitlab.MAX_SOLUTION


def test_junit_fails_what_is_open_and_skips_what_was_dismissed() -> None:
    root = ET.fromstring(junit.render(contents()))  # noqa: S314 -- our own document, without a DTD
    flaws, checks, secrets = root
    assert (flaws.get("tests"), flaws.get("failures"), flaws.get("skipped")) == ("5", "4", "1")
    assert (checks.get("failures"), secrets.get("failures")) == ("2", "2")
    skipped = [case for case in flaws if case.find("skipped") is not None]
    assert [case.get("name") for case in skipped] == ["GHSA-x-y-z in openssl 3.0.1"]


def test_junit_of_a_clean_image_passes() -> None:
    root = ET.fromstring(junit.render(contents(findings=(), misconfigurations=(), secrets=())))  # noqa: S314 -- as above
    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [("1", "0")] * 3


@given(text=HARD)
def test_junit_keeps_the_words(text: str) -> None:
    root = ET.fromstring(junit.render(contents(findings=(finding(title=text),))))  # noqa: S314 -- as above
    failure = root.find(".//failure")
    assert failure is not None
    kept = junit._FORBIDDEN.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")
    assert (failure.text or "").startswith(kept)


@given(text=HARD, version=st.just("1") | HARD)
def test_markdown_keeps_foreign_words_in_code_spans_of_their_cell(text: str, version: str) -> None:
    scan = contents(findings=(finding(title=text, package_name=text, package_version=version),), secrets=())
    document = markdown.render(scan).decode()
    (row,) = [line for line in document.split("\n") if line.startswith("| HIGH")]
    cells = row.strip("|").split("|")
    assert len(cells) == 7
    for cell in cells[1:6]:
        stripped = cell.strip()
        assert stripped == "-" or (stripped[0], stripped[-1], stripped.count("`")) == ("`", "`", 2)


def test_markdown_is_short_and_says_so() -> None:
    many = tuple(finding(f"CVE-2024-{n}", title="x" * 500) for n in range(150))
    document = markdown.render(contents(findings=many)).decode()
    assert document.count("| HIGH |") == markdown.MAX_ROWS
    assert "The 100 of the highest priority of 150." in document
    assert len(document) < 65_536


def test_markdown_says_why_there_is_no_grade_and_that_a_scan_is_partial() -> None:
    document = markdown.render(contents(grade=None, grade_reason="No advisory data", partial=True)).decode()
    assert "**No grade**: `No advisory data`" in document
    assert "the scan is partial" in document


def test_the_most_pressing_come_first() -> None:
    scan = contents(
        findings=(
            finding("CVE-1", fixed_versions=()),
            finding("CVE-2", cvss=5.0),
            finding("CVE-3", cvss=9.0, status=TriageStatus.WONT_FIX),
        )
    )
    assert [each.flaw for each in scan.findings] == ["CVE-3", "CVE-2", "CVE-1"]
