"""The own reports of Trivy, Grype, Syft and OSV-Scanner: read as an engine's output is, by what they say of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from schema.dependencies.records import OperatingSystem
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure, Object, mapping, objects, text, texts
from workers.engines.report import EngineReport, ImageFacts
from workers.imports.report import Generator, ImportedReport, Subject, digest_of, named_system

_TRIVY_SCHEMA = 2
# Prefix of what OSV calls a distribution's release, by its id.
_OSV_SYSTEMS = {
    "Alpine": "alpine",
    "Debian": "debian",
    "Ubuntu": "ubuntu",
    "Rocky Linux": "rocky",
    "AlmaLinux": "almalinux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """What one tool's report says beside what its adapter reads."""

    engine: Engine
    version: Callable[[Object], str]
    subject: Callable[[Object], Subject]


def read(format_: ReportFormat, document: Object) -> ImportedReport:
    """Raises EngineFailure."""
    own = _OWN[format_]
    subject, adapter = own.subject(document), ADAPTERS[own.engine]
    report = adapter.read(document, ImageFacts(system=subject.system, diff_ids=subject.diff_ids))
    if own.engine is Engine.TRIVY and not _has_vulnerabilities(document):
        report = replace(report, findings=None)  # Trivy writes the same when it found none and when it was not asked
    return ImportedReport(
        format=format_,
        generator=Generator(name=adapter.tool, version=own.version(document)),
        subject=subject,
        report=_listing(report),
    )


def _listing(report: EngineReport) -> EngineReport:
    """Without an empty list of packages: where Trivy was not asked to list any it has results all the same."""
    packages = report.packages or (None if report.findings else report.packages)
    return replace(report, packages=packages)


# --- Trivy, pkg/types/report.go


def _has_vulnerabilities(document: Object) -> bool:
    return any(result.get("Vulnerabilities") for result in objects(document.get("Results")))


def _trivy_version(document: Object) -> str:
    """Since 0.68; before, a report did not say."""
    return text(mapping(document.get("Trivy")).get("Version"))


def _trivy_subject(document: Object) -> Subject:
    if document.get("SchemaVersion") != _TRIVY_SCHEMA:
        raise EngineFailure(f"wrote another schema version than {_TRIVY_SCHEMA}")
    metadata = mapping(document.get("Metadata"))
    system, config = mapping(metadata.get("OS")), mapping(metadata.get("ImageConfig"))
    return Subject(
        system=named_system(text(system.get("Family")), text(system.get("Name"))),
        digest=digest_of(*texts(metadata.get("RepoDigests"))),
        platform=_platform(config.get("os"), config.get("architecture"), config.get("variant")),
        diff_ids=texts(metadata.get("DiffIDs")),
    )


# --- Syft and Grype, schema/json and grype/presenter/models


def _anchore_version(document: Object) -> str:
    return text(mapping(document.get("descriptor")).get("version"))


def _anchore_subject(document: Object) -> Subject:
    source, system = mapping(document.get("source")), mapping(document.get("distro"))
    image = mapping(source.get("metadata") or source.get("target"))
    return Subject(
        system=named_system(
            text(system.get("id")) or text(system.get("name")),
            text(system.get("versionID")) or text(system.get("version")),
            text(system.get("prettyName")),
        ),
        digest=digest_of(*texts(image.get("repoDigests")), image.get("manifestDigest")),
        platform=_platform(image.get("os"), image.get("architecture"), None),
        diff_ids=tuple(text(layer.get("digest")) for layer in objects(image.get("layers"))),
    )


# --- OSV-Scanner, pkg/models/results.go


def _osv_subject(document: Object) -> Subject:
    image = mapping(document.get("image_metadata"))
    layers = objects(image.get("layer_metadata"))
    return Subject(system=_osv_system(document), diff_ids=tuple(text(each.get("diff_id")) for each in layers))


def _osv_system(document: Object) -> OperatingSystem | None:
    """From the ecosystem its packages are filed under: "Debian:12", "Alpine:v3.19", "Ubuntu:22.04:LTS"."""
    for result in objects(document.get("results")):
        for entry in objects(result.get("packages")):
            base, _, release = text(mapping(entry.get("package")).get("ecosystem")).partition(":")
            if base in _OSV_SYSTEMS and release:
                return named_system(_OSV_SYSTEMS[base], release.removeprefix("v").partition(":")[0])
    return None


def _platform(system: object, architecture: object, variant: object) -> str | None:
    parts = [text(each, 20) for each in (system, architecture, variant)]
    return "/".join(filter(None, parts)) if parts[0] and parts[1] else None


_OWN: Mapping[ReportFormat, _Own] = {
    ReportFormat.TRIVY: _Own(engine=Engine.TRIVY, version=_trivy_version, subject=_trivy_subject),
    ReportFormat.GRYPE: _Own(engine=Engine.GRYPE, version=_anchore_version, subject=_anchore_subject),
    ReportFormat.SYFT: _Own(engine=Engine.SYFT, version=_anchore_version, subject=_anchore_subject),
    ReportFormat.OSV: _Own(engine=Engine.OSV, version=lambda _: "", subject=_osv_subject),
}
