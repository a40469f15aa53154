"""OSV-Scanner: vulnerabilities, by OSV's own exports on disk, which it needs.

Output: the JSON report of version 2 (github.com/google/osv-scanner, pkg/models/results.go), whose vulnerabilities are whole
records of the OSV schema. It files a distribution's finding under the source package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from schema.advisories.ecosystems import APK, DPKG, ecosystem_base, is_distribution, normalize_name
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import severity_of_score, worst_severity
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import EngineFailure, Object, mapping, objects, path, text, texts, whole
from workers.engines.report import MAX_FINDINGS, EngineReport, ImageFacts, LeftOut, Packages, at_most, findings

_LANGUAGES = {
    "npm": PackageType.NPM,
    "PyPI": PackageType.PIP,
    "RubyGems": PackageType.GEM,
    "Go": PackageType.GO,
    "crates.io": PackageType.CARGO,
    "Maven": PackageType.MAVEN,
    "Packagist": PackageType.COMPOSER,
    "NuGet": PackageType.NUGET,
}
_FOUND, _NO_PACKAGES = 1, 128  # exit codes that are answers, too (docs of OSV-Scanner, "Return codes")


def _arguments(call: Call) -> Sequence[str]:
    return ("scan", "image", "--offline", "--format", "json", "--archive", "--", str(call.image))


def _environment(call: Call) -> Mapping[str, str]:
    return {"OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY": str(call.databases)}


def _database_date(databases: Path) -> datetime | None:
    """When the oldest of the exports was fetched: they do not say themselves when they were made."""
    times = [export.stat().st_mtime for export in (databases / "osv-scanner").glob("*/all.zip")]
    return datetime.fromtimestamp(min(times)).astimezone() if times else None


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    if not isinstance(document.get("results"), list | None) or "results" not in document:
        raise EngineFailure("printed a report without results")
    packages, left_out = Packages(facts), _left_out(document)
    return EngineReport(
        findings=at_most(MAX_FINDINGS, "findings", _findings(document, packages)),
        warnings=(*left_out.lines(), *packages.notes.lines()),
        unjudged=left_out.findings.total(),
    )


def _left_out(document: Object) -> LeftOut:
    left_out = LeftOut()
    for result in objects(document["results"]):
        for entry in objects(result.get("packages")):
            ecosystem = text(mapping(entry.get("package")).get("ecosystem"))
            if _kind(ecosystem) is None:
                left_out.findings[ecosystem] += sum(1 for _ in objects(entry.get("groups")))
    return left_out


def _findings(document: Object, packages: Packages) -> Iterator[FindingRecord]:
    layers = [
        text(each.get("diff_id")) for each in objects(mapping(document.get("image_metadata")).get("layer_metadata"))
    ]
    for result in objects(document["results"]):
        place = path(mapping(result.get("source")).get("path"))
        for entry in objects(result.get("packages")):
            stated = mapping(entry.get("package"))
            package = _package(stated, place, layers, packages)
            if package is not None:
                yield from _of_package(entry, package)


def _package(stated: Object, place: str, layers: Sequence[str], packages: Packages) -> PackageRecord | None:
    ecosystem, name, version = (text(stated.get(key)) for key in ("ecosystem", "name", "version"))
    kind = _kind(ecosystem)
    if kind is None:
        return None
    index = whole(mapping(stated.get("image_origin_details")).get("index"))
    return packages.record(
        kind,
        text(stated.get("os_package_name")) or name,
        version,
        at=(place, layers[index] if index < len(layers) else ""),
        source=(name, version),
    )


def _kind(ecosystem: str) -> PackageType | None:
    """None for an ecosystem that is not ours."""
    base = ecosystem_base(ecosystem)
    if is_distribution(ecosystem):
        return PackageType.DEB if base in DPKG else PackageType.APK if base in APK else PackageType.RPM
    return _LANGUAGES.get(base)


def _of_package(entry: Object, package: PackageRecord) -> Iterator[FindingRecord]:
    """One finding for each group: OSV-Scanner groups the records that are about one flaw."""
    records = {text(each.get("id")): each for each in objects(entry.get("vulnerabilities"))}
    for group in objects(entry.get("groups")):
        names = texts(group.get("ids"))
        advisories = list(_advisories(records[name] for name in names if name in records))
        yield from findings(
            (*names, *texts(group.get("aliases"))),
            package,
            severity=worst_severity(_severities(group, advisories)),
            vectors=(vector for each in advisories for vector in each.cvss_vectors),
            fixed=_fixes(advisories, package),
            title=text(next((each.summary for each in advisories if each.summary), "")),
        )


def _advisories(stated: Iterable[Object]) -> Iterator[AdvisoryRecord]:
    for each in stated:
        try:
            yield parse_osv(each)
        except ValueError:
            continue  # the flaw counts all the same; only what this record adds to it is lost


def _severities(group: Object, advisories: Sequence[AdvisoryRecord]) -> Iterator[Severity]:
    """The group's highest score, as OSV-Scanner states it, else the records' ratings."""
    try:
        yield severity_of_score(float(text(group.get("max_severity"))))
    except ValueError:
        yield from (each.severity for each in advisories)


def _fixes(advisories: Iterable[AdvisoryRecord], package: PackageRecord) -> Iterator[str]:
    names = {package.name, package.source_name}
    for advisory in advisories:
        for affected in advisory.affected:
            if affected.name in {normalize_name(affected.ecosystem, name) for name in names}:
                for found in affected.ranges:
                    yield from (version for kind, version in found.events if kind == "fixed")


ADAPTER = Adapter(
    engine=Engine.OSV,
    tool="osv-scanner",
    form=ImageForm.ARCHIVE,
    arguments=_arguments,
    read=_read,
    environment=_environment,
    exits=frozenset({0, _FOUND, _NO_PACKAGES}),
    database_date=_database_date,
    needs_database=True,
)
