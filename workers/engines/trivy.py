"""Trivy: packages, secrets and misconfigurations; vulnerabilities where its database is there.

Output: the JSON report, schema version 2 (github.com/aquasecurity/trivy, pkg/types/report.go). Trivy splits a version of
Debian and RPM into epoch, version and release; it lists secrets layer by layer, also those a later layer deletes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.evidence import CheckLevel, MisconfigurationRecord, SecretRecord
from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord, Severity
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import (
    EngineFailure,
    Object,
    mapping,
    moment,
    objects,
    parse_document,
    path,
    text,
    texts,
    whole,
)
from workers.engines.report import (
    MAX_CHECKS,
    MAX_FINDINGS,
    MAX_PACKAGES,
    EngineReport,
    ImageFacts,
    LeftOut,
    Packages,
    at_most,
    findings,
    joined_version,
    severity_of,
)

_OS_CLASS = "os-pkgs"
_ANALYZERS = {"dpkg": PackageType.DEB, "apk": PackageType.APK, "rpm": PackageType.RPM, "rpmqa": PackageType.RPM}
_FAMILIES = {
    "debian": PackageType.DEB,
    "ubuntu": PackageType.DEB,
    "alpine": PackageType.APK,
    "chainguard": PackageType.APK,
    "minimos": PackageType.APK,
    "wolfi": PackageType.APK,
}
_TYPES = {
    "bundler": PackageType.GEM,
    "gemspec": PackageType.GEM,
    "cargo": PackageType.CARGO,
    "rustbinary": PackageType.CARGO,
    "gobinary": PackageType.GO,
    "gomod": PackageType.GO,
    "gradle": PackageType.MAVEN,
    "jar": PackageType.MAVEN,
    "pom": PackageType.MAVEN,
    "sbt": PackageType.MAVEN,
    "composer": PackageType.COMPOSER,
    "composer-vendor": PackageType.COMPOSER,
    "dotnet-core": PackageType.NUGET,
    "nuget": PackageType.NUGET,
    "packages-props": PackageType.NUGET,
    "bun": PackageType.NPM,
    "node-pkg": PackageType.NPM,
    "npm": PackageType.NPM,
    "pnpm": PackageType.NPM,
    "yarn": PackageType.NPM,
    "conda-pkg": PackageType.PIP,
    "pip": PackageType.PIP,
    "pipenv": PackageType.PIP,
    "poetry": PackageType.PIP,
    "pylock": PackageType.PIP,
    "python-pkg": PackageType.PIP,
    "uv": PackageType.PIP,
}
# Trivy rates checks by severity only; this is the inverse of how levels are rated.
_LEVELS = {Severity.CRITICAL: CheckLevel.FATAL, Severity.HIGH: CheckLevel.FATAL, Severity.MEDIUM: CheckLevel.WARN}
_CHECK_ID = 40
_JAVA = (".jar", ".war", ".ear", ".par")
_MATCH = 200


def _arguments(call: Call) -> Sequence[str]:
    return (
        "image",
        *("--input", str(call.image)),
        *("--format", "json"),
        *("--scanners", "vuln,secret,misconfig" if call.vulnerabilities else "secret,misconfig"),
        *("--image-config-scanners", "misconfig,secret"),
        *("--cache-dir", str(_cache(call))),
        *("--timeout", f"{call.seconds}s"),
        "--list-all-pkgs",
        "--quiet",
        "--offline-scan",
        "--skip-db-update",
        "--skip-java-db-update",
        *(() if _reads_java(call) else (f"--skip-files=**/*{ending}" for ending in _JAVA)),
    )


def _reads_java(call: Call) -> bool:
    """Asked for vulnerabilities, Trivy without its Java database fails at the first archive; else it leaves them out."""
    return not call.vulnerabilities or (call.databases / "trivy" / "java-db" / "trivy-java.db").is_file()


def _notes(call: Call) -> Sequence[str]:
    return () if _reads_java(call) else ("has no Java database, so it did not look at Java archives",)


def _environment(_: Call) -> Mapping[str, str]:
    """As variables, because an older Trivy refuses flags it does not know."""
    switched = ("SKIP_CHECK_UPDATE", "SKIP_VERSION_CHECK", "DISABLE_TELEMETRY")
    return dict.fromkeys((f"TRIVY_{name}" for name in switched), "true")


def _cache(call: Call) -> Path:
    return call.directory / "cache"


def _prepare(call: Call) -> None:
    """A cache of its own, because Trivy locks it, in which the operator's databases seem to lie."""
    _cache(call).mkdir()
    for name in ("db", "java-db"):
        source = call.databases / "trivy" / name
        if source.is_dir():
            (_cache(call) / name).symlink_to(source.absolute())


def _database_date(databases: Path) -> datetime | None:
    directory = databases / "trivy" / "db"
    try:
        if not (directory / "trivy.db").is_file():
            return None
        return moment(parse_document((directory / "metadata.json").read_bytes()).get("UpdatedAt"))
    except (OSError, EngineFailure):
        return None


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    results = document.get("Results")
    if "SchemaVersion" not in document or not isinstance(results, list | None):
        raise EngineFailure("printed a report of another form than version 2")
    packages, artifact = Packages(facts), document.get("ArtifactName")
    listed: dict[str, PackageRecord] = {}
    found = at_most(MAX_PACKAGES, "packages", _packages(results, packages, listed))
    left_out = _left_out(results)
    return EngineReport(
        packages=found,
        # Whoever asked for vulnerabilities knows whether there was a database; a report does not say.
        findings=at_most(MAX_FINDINGS, "findings", _findings(results, packages, listed)),
        misconfigurations=at_most(MAX_CHECKS, "misconfigurations", _misconfigurations(results, artifact)),
        secrets=at_most(MAX_CHECKS, "secrets", _secrets(results, artifact, packages)),
        warnings=(*left_out.lines(), *packages.notes.lines()),
        unjudged=left_out.findings.total(),
    )


def _left_out(results: object) -> LeftOut:
    left_out = LeftOut()
    for result in objects(results):
        for name, counted in (("Packages", left_out.packages), ("Vulnerabilities", left_out.findings)):
            counted.update(
                text(result.get("Type")) for each in objects(result.get(name)) if kind_of(result, each) is None
            )
    return left_out


def _packages(results: object, packages: Packages, listed: dict[str, PackageRecord]) -> Iterator[PackageRecord]:
    """Notes each by Trivy's id of it, under which findings name it."""
    for result in objects(results):
        for package in objects(result.get("Packages")):
            kind = kind_of(result, package)
            record = None if kind is None else _package(kind, package, result, packages)
            if record is not None:
                listed[_uid(package, result)] = record
                yield record


def _uid(package: Object, result: Object) -> str:
    identifier = mapping(package.get("Identifier") or package.get("PkgIdentifier"))
    name = text(package.get("Name") or package.get("PkgName"))
    own = text(identifier.get("UID")) or text(package.get("ID") or package.get("PkgID")) or name
    return f"{text(result.get('Target'))} {own}"


def kind_of(result: Object, package: Object) -> PackageType | None:
    """None for a kind of package that is not ours."""
    stated = text(result.get("Type"))
    if text(result.get("Class")) == _OS_CLASS:
        analyzer = _ANALYZERS.get(text(package.get("AnalyzedBy")))
        return analyzer or _FAMILIES.get(stated, PackageType.RPM if stated not in {"", "none"} else None)
    return _TYPES.get(stated)


def _package(kind: PackageType, package: Object, result: Object, packages: Packages) -> PackageRecord | None:
    version, source_version = (
        joined_version(*(_part(package, f"{prefix}{part}") for part in ("Epoch", "Version", "Release")))
        for prefix in ("", "Src")
    )
    source = text(package.get("SrcName"))
    place = path(package.get("FilePath"))
    if not place and text(result.get("Class")) != _OS_CLASS:
        place = path(result.get("Target"))  # a lock file, or a program
    return packages.record(
        kind,
        text(package.get("Name")),
        version,
        at=(place, text(mapping(package.get("Layer")).get("DiffID"))),
        source=(source, source_version or version) if source else None,
        architecture=text(package.get("Arch")) or None,
        licenses=texts(package.get("Licenses")),
    )


def _part(package: Object, name: str) -> str:
    value = package.get(name)
    return text(value) if isinstance(value, str) else str(whole(value) or "")


def _findings(results: object, packages: Packages, listed: Mapping[str, PackageRecord]) -> Iterator[FindingRecord]:
    for result in objects(results):
        for stated in objects(result.get("Vulnerabilities")):
            kind = kind_of(result, stated)
            package = listed.get(_uid(stated, result))
            if package is None and kind is not None:
                package = packages.record(
                    kind,
                    text(stated.get("PkgName")),
                    text(stated.get("InstalledVersion")),
                    at=(path(stated.get("PkgPath")), text(mapping(stated.get("Layer")).get("DiffID"))),
                )
            if package is not None:
                yield from _of_package(stated, package)


def _of_package(stated: Object, package: PackageRecord) -> Iterator[FindingRecord]:
    """`VendorIDs` are left out: they are bulletins, which name other flaws, too."""
    scores = mapping(stated.get("CVSS")).values()
    return findings(
        (text(stated.get("VulnerabilityID")),),
        package,
        severity=severity_of(text(stated.get("Severity"))),
        vectors=(text(mapping(each).get(name)) for each in scores for name in ("V40Vector", "V3Vector", "V2Vector")),
        fixed=(each.strip() for each in text(stated.get("FixedVersion")).split(",")),
        title=text(stated.get("Title")) or text(stated.get("Description")),
    )


def _target(result: Object, artifact: object) -> str:
    """The file in the image; "" for the image's own configuration."""
    target = result.get("Target")
    return "" if target == artifact else path(target)


def _misconfigurations(results: object, artifact: object) -> Iterator[MisconfigurationRecord]:
    """Failed checks."""
    for result in objects(results):
        for check in objects(result.get("Misconfigurations")):
            identity = text(check.get("ID"), _CHECK_ID)
            if check.get("Status") != "FAIL" or not identity:
                continue
            severity = severity_of(text(check.get("Severity")))
            yield MisconfigurationRecord(
                check_id=identity,
                title=text(check.get("Title")),
                level=_LEVELS.get(severity, CheckLevel.INFO),
                severity=severity,
                evidence=tuple(filter(None, (text(check.get("Message")),))),
                remediation=text(check.get("Resolution")),
                path=_target(result, artifact),
            )


def _secrets(results: object, artifact: object, packages: Packages) -> Iterator[SecretRecord]:
    """Trivy masks what it shows. It does not say whether a later layer deletes the file."""
    for result in objects(results):
        for secret in objects(result.get("Secrets")):
            diff_id = text(mapping(secret.get("Layer")).get("DiffID"))
            index = packages.layer_index(diff_id)
            rule = text(secret.get("RuleID"), _CHECK_ID)
            if rule:
                yield SecretRecord(
                    rule=rule,
                    title=text(secret.get("Title")),
                    severity=severity_of(text(secret.get("Severity"))),
                    path=_target(result, artifact),
                    line=whole(secret.get("StartLine")) or None,
                    masked=text(secret.get("Match"), _MATCH),
                    layer_digest=diff_id if index >= 0 else "",
                    layer_index=index,
                )


ADAPTER = Adapter(
    engine=Engine.TRIVY,
    tool="trivy",
    form=ImageForm.LAYOUT,
    arguments=_arguments,
    read=_read,
    environment=_environment,
    prepare=_prepare,
    notes=_notes,
    database_date=_database_date,
    withheld=(
        ("Metadata", "ImageConfig"),
        # Lines around what was found, in which there may be more.
        ("Results", "Secrets", "Code"),
        ("Results", "Misconfigurations", "CauseMetadata", "Code"),
    ),
)
