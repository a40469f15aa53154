"""CycloneDX 1.4 to 1.7, JSON: components with licences, and vulnerabilities (cyclonedx.org/docs).

Properties are those Syft and Trivy write: where a package lies, and what source it was built from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from schema.dependencies.records import PackageRecord
from schema.scans.formats import ReportFormat
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import choose_score, worst_severity
from workers.engines.documents import EngineFailure, Object, mapping, objects, path, text
from workers.engines.report import (
    MAX_FINDINGS,
    MAX_PACKAGES,
    EngineReport,
    at_most,
    findings,
    joined_version,
    severity_of,
)
from workers.imports.purls import Shelf, parse_purl
from workers.imports.report import Generator, ImportedReport, Subject, digest_of, named_system

VERSIONS = ("1.4", "1.5", "1.6", "1.7")  # the last for Trivy 0.76; what is read here is the same in all
_REFERENCE = 1000  # characters
_PACKAGES = frozenset({"library", "framework"})  # kinds of components that are packages, whatever else they lack
_TRIVY, _SYFT = "aquasecurity:trivy:", "syft:"
_SETTLED = {  # states of an analysis by which the flaw is none of this image
    "not_affected": "not affected",
    "false_positive": "false positive",
    "resolved": "resolved",
    "resolved_with_pedigree": "resolved",
}
_UPGRADE = re.compile(r"Upgrade \S+ to version ([^;]+)")


def read(document: Object) -> ImportedReport:
    """Raises EngineFailure for what is none, or of another version."""
    version = text(document.get("specVersion"))
    if document.get("bomFormat") != "CycloneDX" or version not in VERSIONS:
        raise EngineFailure(f"wrote version {version[:20] or 'unknown'}; read are {VERSIONS[0]} to {VERSIONS[-1]}")
    components = list(_components(document))
    shelf = Shelf(_subject(document, components))
    listed: dict[str, PackageRecord | None] = {}
    packages = at_most(MAX_PACKAGES, "packages", _packages(components, shelf, listed))
    settled: dict[str, int] = {}
    found = at_most(MAX_FINDINGS, "findings", _findings(document, shelf, listed, settled))
    notes = tuple(f"{count} findings are stated as {state} and left out" for state, count in settled.items())
    return ImportedReport(
        format=ReportFormat.CYCLONEDX,
        generator=_generator(document),
        subject=shelf.subject,
        report=EngineReport(
            packages=packages,
            # Tools write an empty list also when they did not look.
            findings=found if document.get("vulnerabilities") else None,
            warnings=(*shelf.left_out.lines(), *notes, *shelf.notes.lines()),
            unjudged=shelf.left_out.findings.total(),
        ),
    )


def _components(document: Object) -> Iterator[Object]:
    """Those within others, too: an assembly lists its parts."""
    waiting = [objects(document.get("components"))]
    while waiting:
        component = next(waiting[-1], None)
        if component is None:
            waiting.pop()
            continue
        yield component
        waiting.append(objects(component.get("components")))


def _generator(document: Object) -> Generator:
    """The first tool: a list of them until 1.4, components and services from 1.5 on."""
    tools = mapping(document.get("metadata")).get("tools")
    listed = objects(mapping(tools).get("components")) if isinstance(tools, dict) else objects(tools)
    first = next(listed, {})
    return Generator(name=text(first.get("name")), version=text(first.get("version")))


def _subject(document: Object, components: list[Object]) -> Subject:
    image = mapping(mapping(document.get("metadata")).get("component"))
    system = next((each for each in components if each.get("type") == "operating-system"), {})
    properties = _properties(image)
    purl = parse_purl(image.get("purl"))
    return Subject(
        system=named_system(text(system.get("name")), text(system.get("version")), text(system.get("description"))),
        digest=digest_of(image.get("version"), purl.version if purl else None, properties.get(f"{_TRIVY}RepoDigest")),
    )


def _properties(component: Object) -> Mapping[str, str]:
    """By name; of a repeated one the first."""
    found: dict[str, str] = {}
    for each in objects(component.get("properties")):
        found.setdefault(text(each.get("name")), text(each.get("value")))
    return found


def _packages(
    components: list[Object], shelf: Shelf, listed: dict[str, PackageRecord | None]
) -> Iterator[PackageRecord]:
    """Notes each component by its reference, under which vulnerabilities name it; None for what is no package of ours."""
    for component in components:
        record = _package(component, shelf)
        listed[text(component.get("bom-ref"), _REFERENCE)] = record
        if record is not None:
            yield record


def _package(component: Object, shelf: Shelf) -> PackageRecord | None:
    if "purl" not in component and text(component.get("type")) not in _PACKAGES:
        return None  # a file, an application or the system, whose packages are components of their own
    properties = _properties(component)
    occurrence = next(objects(mapping(component.get("evidence")).get("occurrences")), {})
    place = (
        properties.get(f"{_TRIVY}FilePath") or properties.get(f"{_SYFT}location:0:path") or occurrence.get("location")
    )
    source = properties.get(f"{_TRIVY}SrcName")
    source_version = joined_version(
        *(properties.get(f"{_TRIVY}Src{part}", "") for part in ("Epoch", "Version", "Release"))
    )
    return shelf.package(
        parse_purl(component.get("purl")),
        name=text(component.get("name")),
        at=(path(place), ""),
        source=(source, source_version or text(component.get("version"))) if source else None,
        licenses=_licenses(component),
    )


def _licenses(component: Object) -> Iterator[str]:
    for choice in objects(component.get("licenses")):
        named = mapping(choice.get("license"))
        yield text(choice.get("expression")) or text(named.get("id")) or text(named.get("name"))


def _findings(
    document: Object, shelf: Shelf, listed: Mapping[str, PackageRecord | None], settled: dict[str, int]
) -> Iterator[FindingRecord]:
    for stated in objects(document.get("vulnerabilities")):
        state = _SETTLED.get(text(mapping(stated.get("analysis")).get("state")))
        if state:
            settled[state] = settled.get(state, 0) + 1
            continue
        for affected in objects(stated.get("affects")):
            reference = text(affected.get("ref"), _REFERENCE)
            package = _affected(reference, shelf, listed)
            taken = list(_of_package(stated, package)) if package else []
            yield from taken
            if not taken:
                shelf.left_out.findings["CycloneDX"] += 1


def _affected(reference: str, shelf: Shelf, listed: Mapping[str, PackageRecord | None]) -> PackageRecord | None:
    """By its reference within the document, by a BOM-Link (`urn:cdx:serial/version#reference`), or by a package URL."""
    linked = unquote(reference.partition("#")[2]) if reference.startswith("urn:cdx:") else reference
    if linked in listed or not linked.startswith("pkg:"):
        return listed.get(linked)
    return shelf.package(parse_purl(linked))


def _of_package(stated: Object, package: PackageRecord) -> Iterator[FindingRecord]:
    ratings = list(objects(stated.get("ratings")))
    vectors = [text(each.get("vector")) for each in ratings]
    return findings(
        (text(stated.get("id")), *(text(each.get("id")) for each in objects(stated.get("references")))),
        package,
        severity=_severity(stated, ratings, vectors),
        vectors=vectors,
        fixed=(
            version.strip()
            for sentence in _UPGRADE.findall(text(stated.get("recommendation")))
            for version in sentence.split(",")
        ),
        title=text(stated.get("description")),
    )


def _severity(stated: Object, ratings: list[Object], vectors: list[str]) -> Severity:
    """What the vulnerability's own source rates, else the worst of all ratings, else what the vectors say."""
    source = text(mapping(stated.get("source")).get("name"))
    rated = [
        (text(mapping(each.get("source")).get("name")), severity_of(text(each.get("severity")))) for each in ratings
    ]
    known = [(name, severity) for name, severity in rated if severity is not Severity.UNKNOWN]
    if not known:
        score = choose_score([vector for vector in vectors if vector])
        return score.severity if score else Severity.UNKNOWN
    return worst_severity([each for name, each in known if name == source] or [each for _, each in known])
