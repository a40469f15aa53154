"""The sample advisories are well-formed OSV records, and say about the image exactly what they should."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from univers.versions import DebianVersion, PypiVersion, SemverVersion, Version

from app.demo import SAMPLE_ADVISORIES
from app.demo.description import load_description

FILES = sorted(SAMPLE_ADVISORIES.rglob("*.yaml"))
VERSIONS: dict[str, type[Version]] = {"Debian:12": DebianVersion, "PyPI": PypiVersion, "npm": SemverVersion}
FOLDERS = {"debian": "Debian:12", "npm": "npm", "pypi": "PyPI"}

# The mandatory metrics of a base vector (CVSS 3.1 section 6, CVSS 4.0 section 7); optional ones may follow.
VECTORS = {
    "CVSS_V3": re.compile(r"CVSS:3\.[01]/AV:[NALP]/AC:[LH]/PR:[NLH]/UI:[NR]/S:[UC]/C:[NLH]/I:[NLH]/A:[NLH]$"),
    "CVSS_V4": re.compile(
        r"CVSS:4\.0/AV:[NALP]/AC:[LH]/AT:[NP]/PR:[NLH]/UI:[NPA]"
        r"/VC:[HLN]/VI:[HLN]/VA:[HLN]/SC:[HLN]/SI:[HLN]/SA:[HLN](/|$)"
    ),
}

# Every flaw a scan of the image must find with these records, by ecosystem and (source) package.
EXPECTED = {
    "Debian:12": {
        "curl": {"CVE-2024-7264"},
        "expat": {"CVE-2023-52425", "CVE-2024-45490", "CVE-2024-45492"},
        "freetype": {"CVE-2025-27363"},
        "glibc": {"CVE-2023-4911", "CVE-2023-6246", "CVE-2024-2961"},
        "gnutls28": {"CVE-2023-5981", "CVE-2024-0553"},
        "krb5": {"CVE-2023-36054", "CVE-2024-37371"},
        "libcap2": {"CVE-2025-1390"},
        "libtasn1-6": {"CVE-2024-12133"},
        "libwebp": {"CVE-2023-4863"},
        "libxml2": {"CVE-2024-25062", "CVE-2024-56171"},
        "nghttp2": {"CVE-2023-44487"},
        "openssl": {"CVE-2023-3446", "CVE-2023-5363", "CVE-2024-0727", "CVE-2024-6119"},
        "perl": {"CVE-2023-47038"},
        "shadow": {"CVE-2023-4641"},
        "sqlite3": {"CVE-2023-7104", "CVE-2025-6965"},
        "systemd": {"CVE-2023-7008"},
        "util-linux": {"CVE-2024-28085"},
        "xz-utils": {"CVE-2025-31115"},
        "zlib": {"CVE-2023-45853"},
    },
    "PyPI": {
        "certifi": {"CVE-2022-23491", "CVE-2023-37920"},
        "django": {"CVE-2022-34265", "CVE-2022-36359", "CVE-2023-24580", "CVE-2023-36053"},
        "flask": {"CVE-2018-1000656", "CVE-2023-30861"},
        "idna": {"CVE-2024-3651"},
        "jinja2": {"CVE-2019-10906", "CVE-2020-28493", "CVE-2024-22195", "CVE-2024-34064"},
        "pyjwt": {"CVE-2022-29217"},
        "requests": {"CVE-2018-18074", "CVE-2023-32681"},
        "setuptools": {"CVE-2022-40897", "CVE-2024-6345"},
        "sqlparse": {"CVE-2023-30608"},
        "urllib3": {"CVE-2019-11236", "CVE-2019-11324", "CVE-2023-43804", "CVE-2023-45803", "CVE-2024-37891"},
        "werkzeug": {"CVE-2019-14806", "CVE-2023-23934", "CVE-2023-25577"},
    },
    "npm": {
        "@babel/traverse": {"CVE-2023-45133"},
        "ansi-regex": {"CVE-2021-3807"},
        "axios": {"CVE-2021-3749"},
        "braces": {"CVE-2024-4068"},
        "express": {"CVE-2024-29041"},
        "jsonwebtoken": {"CVE-2022-23540"},
        "lodash": {"CVE-2019-10744", "CVE-2020-28500", "CVE-2021-23337"},
        "minimatch": {"CVE-2022-3517"},
        "minimist": {"CVE-2020-7598", "CVE-2021-44906"},
        "moment": {"CVE-2022-24785"},
        "node-fetch": {"CVE-2020-15168"},
        "qs": {"CVE-2022-24999"},
        "tough-cookie": {"CVE-2023-26136"},
        "ws": {"CVE-2021-32640"},
    },
}

# Records that are there to be passed over: fixed, upgraded, replaced or removed in the image.
NOT_FOUND = {
    "DEBIAN-CVE-2023-0361",
    "DEBIAN-CVE-2023-29491",
    "DEBIAN-CVE-2023-38545",
    "GHSA-8hc4-vh64-cxmj",
    "GHSA-9c47-m6qq-7p4h",
    "GHSA-qwmp-2cf2-g9g6",
    "GHSA-www2-v7xj-xrc6",
}


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def normalised(ecosystem: str, name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == "PyPI" else name


def affected(record: dict[str, Any]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """(ecosystem, name, events) of each range of a record."""
    for entry in record["affected"]:
        package = entry["package"]
        for version_range in entry["ranges"]:
            events = [event for step in version_range["events"] for event in step.items()]
            yield package["ecosystem"], normalised(package["ecosystem"], package["name"]), events


def covers(ecosystem: str, events: list[tuple[str, str]], version: str) -> bool:
    """Whether a range covers a version, by the evaluation of the OSV schema; events are in ascending order."""
    scheme = VERSIONS[ecosystem]
    inside = False
    for kind, bound in events:
        if bound == "0" or scheme(version) >= scheme(bound):
            inside = kind == "introduced"
    return inside


def installed() -> dict[str, dict[str, set[str]]]:
    """What the finished image holds: ecosystem -> (source) name -> versions."""
    description = load_description()
    debian = {package.name: package for package in (*description.base, *description.installed)}
    debian |= {package.name: package for package in description.upgraded}
    replaced = {package.name for package in description.npm_replaced}
    packages: dict[str, dict[str, set[str]]] = {key: defaultdict(set) for key in VERSIONS}
    for package in debian.values():
        packages["Debian:12"][package.source or package.name].add(package.source_version or package.version)
    for wheel in description.wheels:
        if not wheel.uninstalled:
            packages["PyPI"][normalised("PyPI", wheel.name)].add(wheel.version)
    for module in (*description.npm, *description.npm_replaced):
        if module.name not in replaced or module in description.npm_replaced:
            packages["npm"][module.name].add(module.version)
    return packages


def test_the_sample_is_as_large_as_promised() -> None:
    counts = {folder: len(list((SAMPLE_ADVISORIES / folder).iterdir())) for folder in FOLDERS}
    assert counts == {"debian": 34, "npm": 19, "pypi": 38}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_record_is_well_formed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    record = read(path)
    assert text.startswith("# Sample advisory")
    assert "November 2026" in text.splitlines()[0]
    assert record["id"] == path.stem
    assert record["database_specific"] == {"source": "harborguard-sample"}
    assert 20 < len(record["summary"]) < 100
    assert record["details"].endswith(".")
    for field in ("modified", "published"):
        if field in record:
            datetime.fromisoformat(record[field])
    for severity in record.get("severity", []):
        assert VECTORS[severity["type"]].match(severity["score"])
    for reference in record["references"]:
        assert reference["url"].startswith("https://")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ranges_are_ascending_and_name_the_ecosystem_of_their_folder(path: Path) -> None:
    for ecosystem, name, events in affected(read(path)):
        assert ecosystem == FOLDERS[path.parent.name]
        assert name
        assert events[0][0] == "introduced"
        bounds = [VERSIONS[ecosystem](bound) for _, bound in events if bound != "0"]
        assert all(lower < upper for lower, upper in pairwise(bounds))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_versions_that_are_listed_lie_in_the_range(path: Path) -> None:
    for entry in read(path)["affected"]:
        ecosystem = entry["package"]["ecosystem"]
        for version in entry.get("versions", []):
            assert any(covers(ecosystem, events, version) for _, _, events in affected({"affected": [entry]}))


def test_other_names_have_the_form_of_their_database() -> None:
    form = re.compile(r"CVE-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3}|PYSEC-\d{4}-\d+")
    for path in FILES:
        record = read(path)
        names = [*record.get("aliases", []), *record.get("upstream", [])]
        assert sum(name.startswith("CVE-") for name in names) == 1, path.stem
        assert all(form.fullmatch(name) for name in names), path.stem


def test_several_flaws_are_told_by_two_databases() -> None:
    tellers = defaultdict(set)
    for path in FILES:
        record = read(path)
        for name in (*record.get("aliases", []), *record.get("upstream", [])):
            if name.startswith("CVE-"):
                tellers[name].add(record["id"].split("-")[0])
    assert sum(databases == {"GHSA", "PYSEC"} for databases in tellers.values()) == 9
    assert tellers["CVE-2023-5363"] == {"DEBIAN", "DSA"}
    assert tellers["CVE-2019-11236"] == {"PYSEC"}


def test_the_records_find_exactly_the_expected_flaws() -> None:
    packages = installed()
    found: dict[str, dict[str, set[str]]] = {ecosystem: defaultdict(set) for ecosystem in VERSIONS}
    passed_over = set()
    for path in FILES:
        record = read(path)
        (cve,) = (n for n in (*record.get("aliases", []), *record.get("upstream", [])) if n.startswith("CVE-"))
        hits = [
            (ecosystem, name)
            for ecosystem, name, events in affected(record)
            for version in packages[ecosystem].get(name, ())
            if covers(ecosystem, events, version)
        ]
        for ecosystem, name in hits:
            found[ecosystem][name].add(cve)
        if not hits:
            passed_over.add(record["id"])
    assert {ecosystem: dict(flaws) for ecosystem, flaws in found.items()} == EXPECTED
    assert passed_over == NOT_FOUND


def test_both_versions_of_minimist_are_affected() -> None:
    record = read(SAMPLE_ADVISORIES / "npm" / "GHSA-xvch-5gv4-984h.yaml")
    ((_, _, events),) = affected(record)
    assert installed()["npm"]["minimist"] == {"0.0.8", "1.2.0"}
    assert covers("npm", events, "0.0.8")
    assert covers("npm", events, "1.2.0")
    assert not covers("npm", events, "0.2.4")
