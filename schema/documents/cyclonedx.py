"""CycloneDX 1.6 (ECMA-424) as JSON: components, licences, what is known of dependencies, and vulnerabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from schema.dependencies.records import PackageType
from schema.documents.contents import FindingEntry, PackageEntry, ScanContents
from schema.documents.flaws import page_of, publisher_of
from schema.documents.identity import content_uuid, fingerprint, write_json
from schema.documents.licenses import is_listed, license_expression
from schema.documents.product import PRODUCT, VERSION
from schema.documents.purls import image_purl, is_purl
from schema.kernel.clock import iso_utc
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.severity import score_vector

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"

_METHODS = {"2.0": "CVSSv2", "3.0": "CVSSv3", "3.1": "CVSSv31", "4.0": "CVSSv4"}
# What a triage means in the standard's words. An OPEN finding has no analysis: nobody has looked at it.
_ANALYSES: dict[TriageStatus, dict[str, Any]] = {
    TriageStatus.ACKNOWLEDGED: {"state": "in_triage"},
    TriageStatus.IN_PROGRESS: {"state": "exploitable", "response": ["update"]},
    TriageStatus.FIXED: {"state": "resolved", "response": ["update"]},
    TriageStatus.WONT_FIX: {"state": "exploitable", "response": ["will_not_fix"]},
}


def render(contents: ScanContents) -> bytes:
    references = _references(contents.packages)
    image = _image(contents)
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": iso_utc(contents.scanned_at),
            "tools": {"components": [*_tools(contents)]},
            "component": image,
        },
        "components": [_component(reference, package) for reference, package in references.items()],
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [*references]}] if references else [],
        # The image holds these packages; which of them needs which other nobody has told.
        "compositions": [{"aggregate": "unknown", "dependencies": [image["bom-ref"]]}],
        "vulnerabilities": [*_vulnerabilities(contents, references)],
    }
    return write_json(body | {"serialNumber": content_uuid(body).urn})


def _references(packages: Sequence[PackageEntry]) -> dict[str, PackageEntry]:
    """Each package by its reference within the document."""
    return {
        f"package-{fingerprint(package.type, package.name, package.version, package.path)[:32]}": package
        for package in packages
    }


def _image(contents: ScanContents) -> dict[str, Any]:
    purl = image_purl(contents)
    known = {
        "harborguard:scan": contents.scan_id,
        "harborguard:reference": contents.reference,
        "harborguard:platform": contents.platform,
        "harborguard:operatingSystem": contents.operating_system,
    }
    return {
        "type": "container",
        "bom-ref": f"image-{fingerprint(contents.image, contents.digest or '')[:32]}",
        "name": contents.image,
        "version": contents.digest or contents.reference,
        **({"purl": purl} if purl else {}),
        "properties": [{"name": name, "value": value} for name, value in known.items() if value is not None],
    }


def _tools(contents: ScanContents) -> Iterator[dict[str, Any]]:
    yield {"type": "application", "name": PRODUCT, "version": VERSION}
    for provider in sorted({run.provider for run in contents.engines if run.provider}):
        name, _, version = provider.partition(" ")
        yield {"type": "application", "name": name} | ({"version": version} if version else {})


def _component(reference: str, package: PackageEntry) -> dict[str, Any]:
    known = {
        "harborguard:type": package.type.value,
        "harborguard:path": package.path,
        "harborguard:layer": package.layer_digest,
        "harborguard:architecture": package.architecture,
        "harborguard:source": f"{package.source_name} {package.source_version}".strip(),
        "harborguard:foundBy": ", ".join(package.sources),
    }
    licenses = _licenses(package.licenses)
    return {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        **({"purl": package.purl} if is_purl(package.purl) else {}),
        **({"licenses": licenses} if licenses else {}),
        "properties": [{"name": name, "value": value} for name, value in known.items() if value],
    }


def _licenses(texts: Sequence[str]) -> list[dict[str, Any]]:
    """One expression alone, or identifiers and names: the standard does not let them stand together."""
    expressions = {text: license_expression(text) for text in texts}
    if len(expressions) == 1:
        expression = next(iter(expressions.values()))
        if expression is not None and not is_listed(expression):
            return [{"expression": expression}]
    return [
        {"license": {"id": expression} if expression is not None and is_listed(expression) else {"name": text}}
        for text, expression in expressions.items()
    ]


def _vulnerabilities(contents: ScanContents, references: dict[str, PackageEntry]) -> Iterator[dict[str, Any]]:
    places: dict[tuple[PackageType, str, str], list[str]] = defaultdict(list)
    for reference, package in references.items():
        places[package.identity].append(reference)
    for finding in contents.findings:
        analysis = _ANALYSES.get(finding.status)
        yield {
            "bom-ref": finding.vulnerability_id,
            "id": finding.flaw,
            "source": _source(finding.flaw),
            "references": [{"id": alias, "source": _source(alias)} for alias in finding.aliases],
            "ratings": [*_ratings(finding)],
            "description": finding.title,
            "recommendation": finding.advice,
            "affects": [
                {"ref": reference, "versions": [{"version": finding.package_version, "status": "affected"}]}
                for reference in places[finding.package]
            ],
            "properties": [{"name": "harborguard:foundBy", "value": ", ".join(finding.sources)}],
            **({"analysis": analysis} if analysis else {}),
        }


def _source(flaw: str) -> dict[str, str]:
    return {"name": publisher_of(flaw).name, "url": page_of(flaw)}


def _ratings(finding: FindingEntry) -> Iterator[dict[str, Any]]:
    """First ours, then what each source said, then each vector by itself."""
    ours = {"source": {"name": PRODUCT}, "severity": finding.severity.value.lower()}
    yield ours if finding.cvss is None else ours | {"score": finding.cvss}
    for source, severity in sorted(finding.severities.items()):
        yield {"source": {"name": source}, "severity": severity.lower()}
    for vector in finding.cvss_vectors:
        score = score_vector(vector)
        if score is not None:
            yield {
                "method": _METHODS[score.version],
                "score": score.score,
                "severity": score.severity.value.lower(),
                "vector": score.vector,
            }
