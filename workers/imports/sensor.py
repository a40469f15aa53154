"""Envelopes of the sensors in the field, version 1.0: what up to six engines found in one image, already put together.

The sensor has done so with losses, which are told and not repaired: of findings that several engines had, one is kept;
a finding names no kind of package; a severity INFO means negligible, unknown, or that OSV's rating was not understood.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from packageurl import PackageURL

from schema.dependencies.purls import purl_of
from schema.dependencies.records import LayerRecord, OperatingSystem, PackageRecord, PackageType
from schema.scans.evidence import CheckLevel, MisconfigurationRecord
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES
from schema.vulnerabilities.records import FindingRecord, Severity
from workers.configuration.checks import SEVERITIES
from workers.engines.documents import EngineFailure, Object, fraction, mapping, objects, text, whole
from workers.engines.report import MAX_CHECKS, MAX_FINDINGS, MAX_PACKAGES, EngineReport, at_most, findings
from workers.engines.syft import TYPES as SYFT_TYPES
from workers.engines.trivy import kind_of as trivy_kind
from workers.imports import observation
from workers.imports.purls import Shelf, parse_purl, system_of
from workers.imports.report import Envelope, Generator, ImportedReport, Subject, Told, digest_of

VERSION = "1.0"
_MAX_LAYERS = 1_000
_MAX_COMMAND = 4_000
_MAX_INDEX = 2**31 - 1
_MAX_SCORE = 10.0
_UNKNOWN_VERSION = "unknown"
_NUMBER = re.compile(r"\d+\.\d+[0-9A-Za-z.+-]*")
_NAME = re.compile(r"[!-~]{1,300}")
_ENGINES = {engine.value: engine for engine in Engine}
_TYPES = {kind.value: kind for kind in PackageType}
_OS_FAMILIES = {
    **dict.fromkeys(("debian", "ubuntu"), PackageType.DEB),
    **dict.fromkeys(("alpine", "chainguard", "minimos", "wolfi"), PackageType.APK),
    **dict.fromkeys(
        ("alma", "amazon", "azurelinux", "cbl-mariner", "centos", "fedora", "opensuse", "opensuse-leap",
         "opensuse-tumbleweed", "oracle", "photon", "redhat", "rocky", "sles", "suse linux enterprise server"),
        PackageType.RPM,
    ),
}  # fmt: skip
_DISTRIBUTION = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})
# Levels by the severities a sensor makes of Dockle's and Dive's.
_LEVELS = {
    "CRITICAL": CheckLevel.FATAL,
    "HIGH": CheckLevel.FATAL,
    "MEDIUM": CheckLevel.WARN,
    "WARNING": CheckLevel.WARN,
}
_ARCHITECTURES = frozenset({"386", "amd64", "arm", "arm64", "mips64le", "ppc64le", "riscv64", "s390x"})


def read(document: Object) -> ImportedReport:
    """Raises EngineFailure for what is none, or of another version."""
    found = document.get("findings")
    if document.get("version") == VERSION and observation.MEMBER in document:
        return ImportedReport(
            format=ReportFormat.SENSOR,
            generator=_generator(mapping(document.get("sensor"))),
            subject=Subject(),
            report=EngineReport(),
            observation=observation.read(document),
        )
    if document.get("version") != VERSION or not isinstance(found, dict):
        raise EngineFailure(f"wrote version {text(document.get('version'))[:20] or 'unknown'}; read is {VERSION}")
    scan, image, versions = (
        mapping(document.get("scan")),
        mapping(document.get("image")),
        mapping(mapping(document.get("sensor")).get("scannerVersions")),
    )
    shelf = _Shelf(Shelf(Subject(system=_system(found.get("packages")))))
    packages = shelf.packages(found.get("packages"))
    flaws = shelf.findings(found.get("vulnerabilities"))
    checks = _checks(found.get("compliance"), found.get("efficiency"))
    status = text(scan.get("status")).upper()
    spoken = {*packages, *flaws, *checks, *(_ENGINES[name] for name in versions if name in _ENGINES)}
    told = tuple(
        _told(engine, text(versions.get(engine)), packages.get(engine), flaws.get(engine), checks.get(engine, ()))
        for engine in Engine
        if engine in spoken
    )
    left_out = shelf.shelf.left_out
    return ImportedReport(
        format=ReportFormat.SENSOR,
        generator=_generator(mapping(document.get("sensor"))),
        subject=Subject(
            system=shelf.shelf.subject.system,
            digest=digest_of(image.get("digest")),
            platform=_platform(text(image.get("platform"))),
        ),
        report=EngineReport(
            warnings=(*left_out.lines(), *shelf.shelf.notes.lines()), unjudged=left_out.findings.total()
        ),
        envelope=Envelope(
            told=told,
            layers=tuple(_layers(document.get("layers"))),
            size_bytes=whole(image.get("sizeBytes")),
            is_partial=status == "PARTIAL",
            is_failed=status == "FAILED",
        ),
    )


def _generator(sensor: Object) -> Generator:
    return Generator(name=text(sensor.get("name")) or "sensor", version=text(sensor.get("version")))


def _told(
    engine: Engine,
    version: str,
    packages: list[PackageRecord] | None,
    flaws: list[FindingRecord] | None,
    checks: Iterable[MisconfigurationRecord],
) -> Told:
    number = _NUMBER.search(version)
    return Told(
        engine=engine,
        provider=f"{engine} {number.group()[:40]}" if number else engine.value,
        report=EngineReport(
            packages=tuple(packages or ()) if packages or engine in PACKAGE_ENGINES else None,
            findings=tuple(flaws or ()) if engine in VULNERABILITY_ENGINES else None,
            misconfigurations=tuple(checks),
        ),
    )


def _platform(stated: str) -> str | None:
    """What a sensor puts before the slash is a distribution."""
    architecture = stated.rpartition("/")[2]
    return f"linux/{architecture}" if architecture in _ARCHITECTURES else None


def _system(packages: object) -> OperatingSystem | None:
    """As the package URLs of the distribution's packages tell it."""
    for each in objects(packages):
        purl = parse_purl(each.get("purl")) if each.get("purl") else None
        if purl is not None and purl.type in {kind.value for kind in _DISTRIBUTION} and (system := system_of(purl)):
            return system
    return None


def _source(entry: Object) -> Engine | None:
    return _ENGINES.get(text(entry.get("source")).lower())


@dataclass
class _Shelf:
    """Packages by name, so that findings find what they are about."""

    shelf: Shelf
    _named: dict[str, dict[str, PackageRecord]] = field(default_factory=lambda: defaultdict(dict))

    def packages(self, listed: object) -> dict[Engine, list[PackageRecord]]:
        """Those with a package URL first: they are known best."""
        entries = at_most(MAX_PACKAGES, "packages", objects(listed))
        found: dict[Engine, list[PackageRecord]] = defaultdict(list)
        for entry in sorted(entries, key=lambda each: not each.get("purl")):
            engine, package = _source(entry), self._package(entry)
            if package is not None:
                self._named[package.name].setdefault(package.version, package)
                self._named[text(entry.get("name"))].setdefault(package.version, package)
                found[engine or Engine.SYFT].append(package)
        return found

    def _package(self, entry: Object) -> PackageRecord | None:
        name, version = text(entry.get("name")), text(entry.get("version"))
        licenses = [each.strip() for each in text(entry.get("license")).split(",")]
        purl = parse_purl(entry.get("purl")) if entry.get("purl") else None
        if purl is None:
            kind = _kind(text(entry.get("type")))
            if kind is None or kind is PackageType.GENERIC:
                return self._generic(name, version)
            if kind in _DISTRIBUTION:
                version = self._whole_version(name, version)
            known = self._named.get(name, {}).get(version)
            if known is not None and known.type is kind:
                return known  # whoever listed it with a package URL knows its source package
            purl = purl_of(kind, name, version)
        return self.shelf.package(purl, name=name, licenses=licenses)

    def _whole_version(self, name: str, version: str) -> str:
        """Trivy's version of a distribution's package comes without epoch and release; Syft's has them."""
        for known in self._named.get(name, ()):
            if known.rpartition(":")[2].partition("-")[0] == version:
                return known
        return version

    def _generic(self, name: str, version: str) -> PackageRecord | None:
        if not (_NAME.fullmatch(name) and _NAME.fullmatch(version)):
            self.shelf.left_out.packages["generic"] += 1
            return None
        return PackageRecord(
            name=name,
            version=version,
            type=PackageType.GENERIC,
            ecosystem=None,
            source_name=name,
            source_version=version,
            purl=PackageURL("generic", None, name, version).to_string()[:1000],
            path="",
            layer_digest="",
            layer_index=-1,
        )

    def findings(self, listed: object) -> dict[Engine, list[FindingRecord]]:
        entries = at_most(MAX_FINDINGS, "findings", objects(listed))
        found: dict[Engine, list[FindingRecord]] = defaultdict(list)
        for entry in entries:
            engine = _source(entry) or Engine.OSV
            if engine not in VULNERABILITY_ENGINES:
                engine = Engine.OSV
            package = self._affected(text(entry.get("packageName")), text(entry.get("installedVersion")))
            flaws = [*_findings(entry, package)] if package is not None else []
            if not flaws:
                self.shelf.left_out.findings[engine.value] += 1
            found[engine] += flaws
        return found

    def _affected(self, name: str, version: str) -> PackageRecord | None:
        """The package a finding names: as it is listed, else of the kind the list has of that name."""
        listed = self._named.get(name, {})
        if version in listed:
            return listed[version]
        if not version and listed:
            return next(iter(listed.values()))
        kinds = {each.type for each in listed.values()} - {PackageType.GENERIC}
        if len(kinds) == 1:
            record = self.shelf.package(purl_of(kinds.pop(), name, version), name=name)
            if record is not None:
                return record
        return self._generic(name, version or _UNKNOWN_VERSION)


def _kind(stated: str) -> PackageType | None:
    kind = _TYPES.get(stated) or SYFT_TYPES.get(stated) or _OS_FAMILIES.get(stated)
    return kind or trivy_kind({"Type": stated}, {})


def _findings(entry: Object, package: PackageRecord) -> Iterator[FindingRecord]:
    severity = Severity.__members__.get(text(entry.get("severity")).upper(), Severity.UNKNOWN)
    if text(entry.get("source")).lower() == Engine.OSV:
        severity = Severity.UNKNOWN
    score = fraction(entry.get("cvssScore"))
    rated = score if score is not None and 0 < score <= _MAX_SCORE else None
    for flaw in findings(
        [text(entry.get("cveId"))],
        package,
        severity=severity,
        fixed=[text(entry.get("fixedVersion"))],
        title=text(entry.get("title")),
    ):
        yield replace(flaw, cvss_score=rated)


def _checks(compliance: object, efficiency: object) -> dict[Engine, tuple[MisconfigurationRecord, ...]]:
    """A sensor makes a finding of each alert; here they are the evidence of one failed check."""
    alerts: dict[tuple[Engine, str], list[Object]] = defaultdict(list)
    for entry in at_most(MAX_CHECKS, "checks", objects(compliance)):
        if rule := text(entry.get("ruleId"), 100):
            alerts[_source(entry) or Engine.DOCKLE, rule].append(entry)
    found: dict[Engine, list[MisconfigurationRecord]] = defaultdict(list)
    for (engine, rule), entries in alerts.items():
        evidence = dict.fromkeys(filter(None, (text(each.get("message")) for each in entries)))
        found[engine].append(_check(rule, text(entries[0].get("ruleName")), entries[0], [*evidence][:100]))
    for entry in at_most(MAX_CHECKS, "findings of efficiency", objects(efficiency)):
        rule, title = text(entry.get("findingType"), 100) or "efficiency", text(entry.get("title"))
        details = text(entry.get("details"))
        found[_source(entry) or Engine.DIVE].append(_check(rule, title, entry, [details] if details else []))
    return {engine: tuple(checks) for engine, checks in found.items()}


def _check(rule: str, title: str, entry: Object, evidence: list[str]) -> MisconfigurationRecord:
    level = _LEVELS.get(text(entry.get("severity")).upper(), CheckLevel.INFO)
    return MisconfigurationRecord(
        check_id=rule, title=title, level=level, severity=SEVERITIES[level], evidence=tuple(evidence), remediation=""
    )


def _layers(listed: object) -> Iterator[LayerRecord]:
    """Numbered anew in their order. Dive knows a layer by what it unpacks to, and so by one digest only."""
    entries = at_most(_MAX_LAYERS, "layers", objects(listed))
    for index, entry in enumerate(sorted(entries, key=lambda each: whole(each.get("index")))):
        digest = text(entry.get("digest"), 140)
        yield LayerRecord(
            index=index,
            digest=digest,
            diff_id=digest,
            media_type="",
            size=0,
            diff_size=whole(entry.get("sizeBytes")),
            file_count=min(whole(entry.get("fileCount")), _MAX_INDEX),
            created_by=text(entry.get("command"), _MAX_COMMAND),
        )
