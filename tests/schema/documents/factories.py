"""Scans as values, and arbitrary ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from schema.dependencies.records import PackageType
from schema.documents.contents import (
    EngineEntry,
    FindingEntry,
    LayerEntry,
    MisconfigurationEntry,
    PackageEntry,
    ScanContents,
    SecretEntry,
)
from schema.scans.evidence import CheckLevel, ImageEfficiency, LayerUsage, WastedFile
from schema.scans.models import Engine, EngineRunStatus
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

NOW = datetime(2026, 4, 26, 14, 22, 11, 345_000, tzinfo=UTC)
LAYER = "sha256:" + "a" * 64
DIGEST = "sha256:" + "d" * 64
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
VECTORS = (VECTOR, "AV:N/AC:L/Au:N/C:P/I:P/A:P", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N")


def package(name: str = "openssl", version: str = "3.0.1", **values: Any) -> PackageEntry:
    given: dict[str, Any] = {
        "type": PackageType.DEB,
        "ecosystem": "Debian:12",
        "source_name": name,
        "source_version": version,
        "purl": f"pkg:deb/debian/{name}@{version}",
        "licenses": ("Apache-2.0",),
        "architecture": "amd64",
        "path": "var/lib/dpkg/status",
        "layer_digest": LAYER,
        "layer_index": 0,
        "sources": ("native",),
    }
    return PackageEntry(name=name, version=version, **{**given, **values})


def finding(flaw: str = "CVE-2024-1", severity: Severity = Severity.HIGH, **values: Any) -> FindingEntry:
    given: dict[str, Any] = {
        "vulnerability_id": f"vuln-{flaw}-{values.get('package_name', 'openssl')}-{values.get('package_version', '')}",
        "aliases": (f"GHSA-{flaw}", f"DEBIAN-{flaw}"),
        "advisory_ids": (f"DSA-{flaw}",),
        "title": "A flaw in the parser",
        "cvss": 7.5,
        "cvss_vectors": (VECTOR,),
        "package_name": "openssl",
        "package_version": "3.0.1",
        "package_type": PackageType.DEB,
        "fixed_versions": ("3.0.2",),
        "status": TriageStatus.OPEN,
        "sources": ("native",),
        "engines": ("trivy",),
        "path": "var/lib/dpkg/status",
        "layer_digest": LAYER,
        "layer_index": 0,
    }
    return FindingEntry(flaw=flaw, severity=severity, **{**given, **values})


def misconfiguration(check_id: str = "CIS-DI-0001", **values: Any) -> MisconfigurationEntry:
    given: dict[str, Any] = {
        "title": "The container runs as root",
        "level": CheckLevel.WARN,
        "severity": Severity.MEDIUM,
        "evidence": ("USER is not set",),
        "remediation": "Set USER.",
        "path": "",
        "layer_digest": "",
        "layer_index": -1,
        "sources": ("native",),
    }
    return MisconfigurationEntry(check_id=check_id, **{**given, **values})


def secret(rule: str = "aws-access-key-id", **values: Any) -> SecretEntry:
    given: dict[str, Any] = {
        "title": "AWS access key id",
        "severity": Severity.CRITICAL,
        "path": "srv/app/.env",
        "line": 3,
        "masked": "AKIA************WXYZ",
        "layer_digest": LAYER,
        "layer_index": 1,
        "deleted": False,
        "place": "",
        "sources": ("native",),
    }
    return SecretEntry(rule=rule, **{**given, **values})


def engine(engine: Engine = Engine.TRIVY, provider: str | None = "native 0.1.0", **values: Any) -> EngineEntry:
    given: dict[str, Any] = {"status": EngineRunStatus.COMPLETE, "message": None, "database_date": NOW}
    return EngineEntry(engine=engine, provider=provider, **{**given, **values})


def contents(**values: Any) -> ScanContents:
    """A scan with one of everything."""
    given: dict[str, Any] = {
        "scan_id": "scn-1",
        "image": "ghcr.io/acme/api",
        "reference": "ghcr.io/acme/api:1.4.7",
        "digest": DIGEST,
        "platform": "linux/amd64",
        "operating_system": "Debian GNU/Linux 12 (bookworm)",
        "grade": Grade.B,
        "grade_reason": None,
        "risk_score": 12,
        "partial": False,
        "started_at": NOW - timedelta(minutes=1),
        "scanned_at": NOW,
        "engines": (engine(), engine(Engine.DOCKLE), engine(Engine.SYFT, "syft 1.18.1")),
        "layers": (
            LayerEntry(
                index=0,
                digest=DIGEST,
                diff_id=LAYER,
                size_bytes=10,
                diff_size_bytes=20,
                file_count=3,
                created_by="ADD rootfs",
            ),
        ),
        "packages": (
            package(),
            package("odd", "1", licenses=("MIT OR GPL-2.0-or-later",)),
            package("odder", "1", licenses=("MIT OR GPL-2.0-or-later", "My own licence", "BSD-3-Clause")),
            package("lodash", "4.17.20", type=PackageType.NPM, path="srv/a/package.json", licenses=()),
            package(
                "lodash", "4.17.20", type=PackageType.NPM, path="srv/b/package.json", licenses=("LicenseRef-Ours",)
            ),
        ),
        "findings": (
            finding(severities={"native": Severity.HIGH, "trivy": Severity.CRITICAL}),
            finding("CVE-2023-2", Severity.CRITICAL, cvss_vectors=VECTORS, status=TriageStatus.ACKNOWLEDGED),
            finding("GHSA-x-y-z", Severity.LOW, aliases=(), fixed_versions=(), status=TriageStatus.WONT_FIX),
            finding("TEMP-1", Severity.UNKNOWN, cvss=None, cvss_vectors=(), title="", sources=("syft", "native")),
            finding(
                "CVE-2021-3",
                Severity.MEDIUM,
                package_name="lodash",
                package_version="4.17.20",
                package_type=PackageType.NPM,
                status=TriageStatus.IN_PROGRESS,
            ),
        ),
        "misconfigurations": (misconfiguration(), misconfiguration("CIS-DI-0008", path="usr/bin/su", layer_index=0)),
        "secrets": (
            secret(),
            secret("generic", path="", line=None, place="ENV TOKEN", layer_digest="", layer_index=-1),
        ),
        "efficiency": ImageEfficiency(
            total_bytes=100,
            wasted_bytes=1,
            efficiency=0.99,
            layers=(LayerUsage(index=0, diff_id=LAYER, bytes=100, added=3, changed=0, removed=0),),
            wasted_files=(WastedFile(path="var/cache/x", count=2, bytes=1),),
        ),
    }
    return ScanContents(**{**given, **values})


# What a database can hold: no surrogates and no NUL, and everything else.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
NAME = TEXT.filter(bool)
HOSTILE = (
    "]]><script>alert(1)</script>",
    "<!--",
    "`|`|`[x](javascript:alert(1))` @everyone",
    "=cmd|' /C calc'!A0",
    "a\x01\x08\x1b[31mb\u2028c\u202ed\ufffe",
    "&amp;&#0;\"'<>",
    "\r\n# Heading\n\n- list ![x](http://a.example/x.png)",
    "../../../etc/passwd?x#y %00 \\",
)
HARD = st.sampled_from(HOSTILE) | NAME
_TEXTS = st.lists(HARD, max_size=3, unique=True).map(tuple)

PACKAGES = st.builds(
    PackageEntry,
    name=HARD,
    version=TEXT,
    type=st.sampled_from(PackageType),
    ecosystem=st.none() | NAME,
    source_name=TEXT,
    source_version=TEXT,
    purl=TEXT,
    licenses=st.lists(
        st.sampled_from(["MIT", "GPL-2.0+", "MIT OR ISC", "(MIT", "LicenseRef-x"]) | HARD, max_size=3
    ).map(tuple),
    architecture=st.none() | TEXT,
    path=TEXT,
    layer_digest=TEXT,
    layer_index=st.integers(-1, 200),
    sources=_TEXTS,
)
FINDINGS = st.builds(
    FindingEntry,
    vulnerability_id=st.uuids().map(str),
    flaw=HARD,
    aliases=_TEXTS,
    advisory_ids=_TEXTS,
    title=st.just("") | HARD,
    severity=st.sampled_from(Severity),
    cvss=st.none() | st.floats(0, 10),
    cvss_vectors=st.lists(st.sampled_from(VECTORS) | HARD, max_size=3, unique=True).map(tuple),
    package_name=HARD,
    package_version=TEXT,
    package_type=st.sampled_from(PackageType),
    fixed_versions=_TEXTS,
    status=st.sampled_from(TriageStatus),
    sources=_TEXTS,
    engines=_TEXTS,
    path=TEXT,
    layer_digest=TEXT,
    layer_index=st.integers(-1, 200),
    severities=st.dictionaries(NAME, st.sampled_from(Severity), max_size=2),
)
MISCONFIGURATIONS = st.builds(
    MisconfigurationEntry,
    check_id=HARD,
    title=HARD,
    level=st.sampled_from(CheckLevel),
    severity=st.sampled_from(Severity),
    evidence=_TEXTS,
    remediation=TEXT,
    path=TEXT,
    layer_digest=TEXT,
    layer_index=st.integers(-1, 200),
    sources=_TEXTS,
)
SECRETS = st.builds(
    SecretEntry,
    rule=HARD,
    title=HARD,
    severity=st.sampled_from(Severity),
    path=TEXT,
    line=st.none() | st.integers(1, 10_000),
    masked=TEXT,
    layer_digest=TEXT,
    layer_index=st.integers(-1, 200),
    deleted=st.booleans(),
    place=TEXT,
    sources=_TEXTS,
)
SCANS = st.builds(
    contents,
    digest=st.none() | st.just(DIGEST),
    platform=st.none() | TEXT,
    operating_system=st.none() | TEXT,
    grade=st.none() | st.sampled_from(Grade),
    grade_reason=st.none() | HARD,
    risk_score=st.none() | st.integers(0, 100),
    partial=st.booleans(),
    packages=st.lists(PACKAGES, max_size=4).map(tuple),
    findings=st.lists(FINDINGS, max_size=4).map(tuple),
    misconfigurations=st.lists(MISCONFIGURATIONS, max_size=3).map(tuple),
    secrets=st.lists(SECRETS, max_size=3).map(tuple),
)
