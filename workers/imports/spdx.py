"""SPDX 2.2 and 2.3, JSON: packages with licences (spdx.github.io/spdx-spec/v2.3). It has no vulnerabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packageurl import PackageURL

from schema.dependencies.records import PackageRecord
from schema.scans.formats import ReportFormat
from workers.engines.documents import EngineFailure, Object, mapping, objects, text, texts
from workers.engines.report import MAX_PACKAGES, EngineReport, at_most
from workers.imports.purls import Shelf, parse_purl
from workers.imports.report import Generator, ImportedReport, Subject, digest_of, named_system

VERSIONS = ("SPDX-2.2", "SPDX-2.3")
_NOTHING = frozenset({"", "NOASSERTION", "NONE"})
_WHOLES = frozenset(
    {"APPLICATION", "CONTAINER", "FILE", "OPERATING-SYSTEM", "SOURCE"}
)  # purposes of what is no package
_TOOL = re.compile(r"Tool: *(.+?)(?:-v?([0-9][^-]*(?:-.*)?))?")
_BUILT_FROM = re.compile(r"built package from: (\S+)(?: (\S+))?")  # as Trivy tells the source package


def read(document: Object) -> ImportedReport:
    """Raises EngineFailure for what is none, or of another version."""
    version = text(document.get("spdxVersion"))
    if version not in VERSIONS or not isinstance(document.get("packages"), list | None):
        raise EngineFailure(f"wrote version {version[:20] or 'unknown'}; read are {' and '.join(VERSIONS)}")
    shelf = Shelf(_subject(document))
    packages = at_most(MAX_PACKAGES, "packages", _packages(document, shelf))
    return ImportedReport(
        format=ReportFormat.SPDX,
        generator=_generator(document),
        subject=shelf.subject,
        report=EngineReport(packages=packages, warnings=(*shelf.left_out.lines(), *shelf.notes.lines())),
    )


def _generator(document: Object) -> Generator:
    """The first tool among the creators: "Tool: syft-1.18.1"."""
    for creator in texts(mapping(document.get("creationInfo")).get("creators")):
        if match := _TOOL.fullmatch(creator):
            return Generator(name=match[1], version=match[2] or "")
    return Generator()


def _described(document: Object) -> set[str]:
    """The ids of what the document is about: the image."""
    related = (
        text(each.get("relatedSpdxElement"))
        for each in objects(document.get("relationships"))
        if each.get("relationshipType") == "DESCRIBES" and each.get("spdxElementId") == "SPDXRef-DOCUMENT"
    )
    return {*texts(document.get("documentDescribes")), *related}


def _subject(document: Object) -> Subject:
    described = _described(document)
    system: Object = {}
    stated: list[object] = []
    for package in objects(document.get("packages")):
        if package.get("primaryPackagePurpose") == "OPERATING-SYSTEM":
            system = system or package
        if text(package.get("SPDXID")) in described:
            purl = _purl(package)
            stated += [package.get("versionInfo"), purl.version if purl else None]
    return Subject(
        system=named_system(text(system.get("name")), text(system.get("versionInfo"))), digest=digest_of(*stated)
    )


def _packages(document: Object, shelf: Shelf) -> Iterator[PackageRecord]:
    described = _described(document)
    for package in objects(document.get("packages")):
        purl = _purl(package)
        whole = text(package.get("SPDXID")) in described or text(package.get("primaryPackagePurpose")) in _WHOLES
        if purl is None and whole:
            continue
        record = shelf.package(
            purl, name=text(package.get("name")), source=_source(package), licenses=_licenses(package)
        )
        if record is not None:
            yield record


def _purl(package: Object) -> PackageURL | None:
    for reference in objects(package.get("externalRefs")):
        if reference.get("referenceType") == "purl":
            return parse_purl(reference.get("referenceLocator"))
    return None


def _source(package: Object) -> tuple[str, str] | None:
    match = _BUILT_FROM.fullmatch(text(package.get("sourceInfo")))
    return (match[1], match[2] or text(package.get("versionInfo"))) if match else None


def _licenses(package: Object) -> Iterator[str]:
    """What was concluded, else what the package declares."""
    for name in ("licenseConcluded", "licenseDeclared"):
        found = text(package.get(name))
        if found not in _NOTHING:
            yield found
            return
