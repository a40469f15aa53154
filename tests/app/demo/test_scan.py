"""The demonstration from end to end: image, layers, inventory, advisories, findings. It finds what it promises."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from app.demo import SAMPLE_ADVISORIES
from app.demo.description import load_description
from app.demo.image import build_demo_image
from schema.advisories.feeds import read_documents
from schema.advisories.matching import LookupKey, lookup_keys, match_packages
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord, AffectedPackage
from schema.dependencies.records import Inventory, PackageType
from schema.vulnerabilities.records import FindingRecord, Severity
from workers.inventory.inventory import take_inventory, wanted
from workers.oci.layers import merge_layers
from workers.oci.limits import ImageLimits

from .wheelhouse import with_small_wheels

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


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    small, fetch = with_small_wheels(load_description())
    directory = tmp_path_factory.mktemp("scan")
    image = build_demo_image(directory, cache=directory / "cache", description=small, fetch=fetch)
    return take_inventory(merge_layers(image.layout, wanted=wanted, limits=ImageLimits()))


@pytest.fixture(scope="module")
def findings(inventory: Inventory) -> list[FindingRecord]:
    advisories: dict[LookupKey, list[tuple[AdvisoryRecord, AffectedPackage]]] = defaultdict(list)
    for _, document in read_documents(SAMPLE_ADVISORIES):
        record = parse_osv(document)
        for affected in record.affected:
            advisories[affected.ecosystem, affected.name].append((record, affected))
    return match_packages(inventory.packages, advisories)


def one(findings: list[FindingRecord], vulnerability_id: str, package: str) -> FindingRecord:
    (found,) = (f for f in findings if f.vulnerability_id == vulnerability_id and f.package.name == package)
    return found


def test_the_inventory_is_complete_and_without_complaint(inventory: Inventory) -> None:
    assert inventory.warnings == ()
    assert inventory.operating_system is not None
    assert inventory.operating_system.ecosystem == "Debian:12"
    described = load_description()
    counts = Counter(package.type for package in inventory.packages)
    assert counts[PackageType.DEB] == len(described.base) + len(described.installed)
    assert counts[PackageType.PIP] == len(described.wheels) - 1  # one is uninstalled
    shop = [package for package in inventory.packages if package.name == "harbor-shop"]
    assert counts[PackageType.NPM] == len(described.npm) + len(shop)
    assert len(inventory.layers) == 7


def test_exactly_the_expected_flaws_are_found(findings: list[FindingRecord]) -> None:
    found: dict[str, dict[str, set[str]]] = {ecosystem: defaultdict(set) for ecosystem in EXPECTED}
    for finding in findings:
        ecosystem, name = lookup_keys(finding.package)[0]
        found[ecosystem][name].add(finding.vulnerability_id)
    assert {ecosystem: dict(flaws) for ecosystem, flaws in found.items()} == EXPECTED


def test_every_record_is_used_but_those_that_must_not_match(findings: list[FindingRecord]) -> None:
    used = {advisory_id for finding in findings for advisory_id in finding.advisory_ids}
    assert {path.stem for path in SAMPLE_ADVISORIES.rglob("*.yaml")} - used == NOT_FOUND


def test_records_of_two_databases_become_one_finding(findings: list[FindingRecord]) -> None:
    leak = one(findings, "CVE-2023-32681", "requests")
    assert leak.advisory_ids == ("GHSA-j8r2-6x86-q33q", "PYSEC-2023-74")
    assert leak.fixed_versions == ("2.31.0",)
    assert one(findings, "CVE-2023-5363", "libssl3").advisory_ids == ("DEBIAN-CVE-2023-5363", "DSA-5532-1")


def test_a_flaw_of_a_source_package_is_found_in_each_of_its_packages(findings: list[FindingRecord]) -> None:
    packages = {finding.package.name for finding in findings if finding.vulnerability_id == "CVE-2024-37371"}
    assert packages == {"libgssapi-krb5-2", "libk5crypto3", "libkrb5-3", "libkrb5support0"}


def test_both_versions_of_minimist_are_found(findings: list[FindingRecord]) -> None:
    minimist = [finding for finding in findings if finding.vulnerability_id == "CVE-2021-44906"]
    fixes = {finding.package.version: finding.fixed_versions[0] for finding in minimist}
    assert fixes == {"0.0.8": "0.2.4", "1.2.0": "1.2.6"}


def test_findings_of_every_severity_are_shown(findings: list[FindingRecord]) -> None:
    assert {finding.severity for finding in findings} == set(Severity)
    assert one(findings, "CVE-2022-34265", "Django").severity == Severity.CRITICAL
    assert one(findings, "CVE-2023-45853", "zlib1g").fixed_versions == ()
    assert one(findings, "CVE-2019-11236", "urllib3").severity == Severity.UNKNOWN


def test_a_package_belongs_to_the_layer_that_brought_it(findings: list[FindingRecord]) -> None:
    assert one(findings, "CVE-2023-4911", "libc6").package.layer_index == 0
    assert one(findings, "CVE-2024-6119", "openssl").package.layer_index == 1
    assert one(findings, "CVE-2022-34265", "Django").package.layer_index == 2
    assert one(findings, "CVE-2019-10744", "lodash").package.layer_index == 3
    assert one(findings, "CVE-2024-7264", "curl").package.layer_index == 5
