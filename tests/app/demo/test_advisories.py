"""The sample advisories are well-formed OSV records that the project reads without loss."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.demo import SAMPLE_ADVISORIES
from schema.advisories.feeds import read_documents
from schema.advisories.matching import is_affected
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.advisories.versions import version_key
from schema.vulnerabilities.records import Severity

FILES = sorted(SAMPLE_ADVISORIES.rglob("*.yaml"))
FOLDERS = {"debian": "Debian:12", "npm": "npm", "pypi": "PyPI"}

# The mandatory metrics of a base vector (CVSS 3.1 section 6, CVSS 4.0 section 7); optional ones may follow.
VECTORS = {
    "CVSS_V3": re.compile(r"CVSS:3\.[01]/AV:[NALP]/AC:[LH]/PR:[NLH]/UI:[NR]/S:[UC]/C:[NLH]/I:[NLH]/A:[NLH]$"),
    "CVSS_V4": re.compile(
        r"CVSS:4\.0/AV:[NALP]/AC:[LH]/AT:[NP]/PR:[NLH]/UI:[NPA]"
        r"/VC:[HLN]/VI:[HLN]/VA:[HLN]/SC:[HLN]/SI:[HLN]/SA:[HLN](/|$)"
    ),
}


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def parsed(path: Path) -> AdvisoryRecord:
    return parse_osv(read(path))


def other_names(record: dict[str, Any]) -> list[str]:
    return [*record.get("aliases", []), *record.get("upstream", [])]


def test_the_importer_reads_every_file_of_the_directory() -> None:
    read_in = [parse_osv(document) for _, document in read_documents(SAMPLE_ADVISORIES)]
    assert {record.id for record in read_in} == {path.stem for path in FILES}
    counts = {folder: len(list((SAMPLE_ADVISORIES / folder).iterdir())) for folder in FOLDERS}
    assert counts == {"debian": 34, "npm": 19, "pypi": 38}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_record_says_what_it_is_and_where_it_comes_from(path: Path) -> None:
    record = read(path)
    first_line = path.read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith("# Sample advisory")
    assert "November 2026" in first_line
    assert record["id"] == path.stem
    assert record["database_specific"] == {"source": "harborguard-sample"}
    assert 20 < len(record["summary"]) < 100
    assert record["details"].endswith(".")
    for reference in record["references"]:
        assert reference["url"].startswith("https://")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_of_a_record_is_lost_when_it_is_parsed(path: Path) -> None:
    record = read(path)
    advisory = parsed(path)
    assert set(advisory.aliases) >= set(other_names(record)) - {advisory.id}
    assert (advisory.published is None) == ("published" not in record)
    vectors = tuple(severity["score"] for severity in record.get("severity", []))
    assert advisory.cvss_vectors == vectors
    assert (advisory.severity == Severity.UNKNOWN) == (not vectors)
    (entry,) = record["affected"]
    (affected,) = advisory.affected
    assert affected.ecosystem == FOLDERS[path.parent.name]
    assert affected.versions == tuple(entry.get("versions", ()))
    events = [event for step in entry["ranges"][0]["events"] for event in step.items()]
    assert [event for version_range in affected.ranges for event in version_range.events] == events


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vectors_are_of_the_type_they_say(path: Path) -> None:
    for severity in read(path).get("severity", []):
        assert VECTORS[severity["type"]].match(severity["score"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ranges_are_ascending_and_agree_with_the_listed_versions(path: Path) -> None:
    (affected,) = parsed(path).affected
    for version_range in affected.ranges:
        assert version_range.events[0][0] == "introduced"
        keys = [version_key(affected.ecosystem, bound) for _, bound in version_range.events if bound != "0"]
        assert all(lower is not None and upper is not None and lower < upper for lower, upper in pairwise(keys))
        for kind, bound in version_range.events:
            if bound != "0":
                assert is_affected(affected, bound) == (kind == "introduced")
    assert all(is_affected(affected, version) for version in affected.versions)


def test_other_names_have_the_form_of_their_database() -> None:
    form = re.compile(r"CVE-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3}|PYSEC-\d{4}-\d+")
    for path in FILES:
        names = other_names(read(path))
        assert sum(name.startswith("CVE-") for name in names) == 1, path.stem
        assert all(form.fullmatch(name) for name in names), path.stem


def test_several_flaws_are_told_by_two_databases() -> None:
    tellers = defaultdict(set)
    for path in FILES:
        for name in other_names(read(path)):
            if name.startswith("CVE-"):
                tellers[name].add(path.stem.split("-")[0])
    assert sum(databases == {"GHSA", "PYSEC"} for databases in tellers.values()) == 9
    assert tellers["CVE-2023-5363"] == {"DEBIAN", "DSA"}
    assert tellers["CVE-2019-11236"] == {"PYSEC"}
