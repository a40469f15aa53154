"""Packages and advisories in the fewest words, for the tests of this folder."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from schema.advisories.matching import Advisories, match_packages
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.dependencies.records import PackageRecord, PackageType
from schema.vulnerabilities.records import FindingRecord

_TYPES = {
    "PyPI": PackageType.PIP,
    "npm": PackageType.NPM,
    "Go": PackageType.GO,
    "Maven": PackageType.MAVEN,
    "Alpine": PackageType.APK,
    "Wolfi": PackageType.APK,
    "Rocky Linux": PackageType.RPM,
    "AlmaLinux": PackageType.RPM,
    "Red Hat": PackageType.RPM,
}


def package(ecosystem: str | None, name: str, version: str, *, source: tuple[str, str] | None = None) -> PackageRecord:
    """An installed package; `source` is its source's (name, version) where they differ from its own."""
    source_name, source_version = source or (name, version)
    return PackageRecord(
        name=name,
        version=version,
        type=_TYPES.get((ecosystem or "").partition(":")[0], PackageType.DEB),
        ecosystem=ecosystem,
        source_name=source_name,
        source_version=source_version,
        purl=f"pkg:generic/{name}@{version}",
        path="var/lib/packages",
        layer_digest="sha256:0",
        layer_index=0,
    )


def entry(
    ecosystem: str, name: str, *events: tuple[str, str], kind: str = "ECOSYSTEM", **more: object
) -> dict[str, Any]:
    """One item of an OSV record's `affected`."""
    ranges = [{"type": kind, "events": [{name: version} for name, version in events]}] if events else []
    return {"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges, **more}


def advisory(identity: str, *entries: dict[str, Any], **more: object) -> AdvisoryRecord:
    document = {"id": identity, "modified": "2024-05-01T00:00:00Z", "affected": list(entries), **more}
    return parse_osv(document)


def filed(feed: str, record: AdvisoryRecord) -> AdvisoryRecord:
    """The record as a feed of the store has it."""
    return replace(record, feed=feed)


def store(*records: AdvisoryRecord) -> Advisories:
    """What a look-up in the store would answer."""
    found = defaultdict(list)
    for record in records:
        for affected in record.affected:
            found[affected.ecosystem, affected.name].append((record, affected))
    return found


def match(packages: PackageRecord | list[PackageRecord], *records: AdvisoryRecord) -> list[FindingRecord]:
    return match_packages(packages if isinstance(packages, list) else [packages], store(*records))
