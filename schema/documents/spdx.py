"""SPDX 2.3 (ISO/IEC 5962 is 2.2.1) as JSON: the image, what it contains, and the licences as far as they are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from schema.documents.contents import PackageEntry, ScanContents
from schema.documents.identity import content_uuid, fingerprint, write_json
from schema.documents.licenses import license_expression
from schema.documents.product import PRODUCT, VERSION
from schema.documents.purls import image_purl, is_purl

MEDIA_TYPE = "application/spdx+json"

_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-Image"
_UNKNOWN = "NOASSERTION"


def render(contents: ScanContents) -> bytes:
    packages = {_reference(package): package for package in contents.packages}
    unlisted = sorted({text for package in packages.values() for text in package.licenses if _is_unlisted(text)})
    body = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": contents.reference,
        "creationInfo": {
            # Whole seconds: the standard has no fractions.
            "created": contents.scanned_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: {PRODUCT}-{VERSION}"],
        },
        "packages": [_image(contents), *(_package(reference, each) for reference, each in packages.items())],
        "relationships": [
            _relationship(_DOCUMENT, "DESCRIBES", _IMAGE),
            *(_relationship(_IMAGE, "CONTAINS", reference) for reference in packages),
        ],
        **({"hasExtractedLicensingInfos": [*_extracted(unlisted)]} if unlisted else {}),
    }
    return write_json(body | {"documentNamespace": content_uuid(body).urn})


def _reference(package: PackageEntry) -> str:
    return f"SPDXRef-Package-{fingerprint(package.type, package.name, package.version, package.path)[:32]}"


def _relationship(element: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": other}


def _image(contents: ScanContents) -> dict[str, Any]:
    purl = image_purl(contents)
    algorithm, _, digest = (contents.digest or "").partition(":")
    return {
        "SPDXID": _IMAGE,
        "name": contents.image,
        "versionInfo": contents.digest or contents.reference,
        "primaryPackagePurpose": "CONTAINER",
        **({"checksums": [{"algorithm": algorithm.upper(), "checksumValue": digest}]} if digest else {}),
        **_statements((), purl),
    }


def _package(reference: str, package: PackageEntry) -> dict[str, Any]:
    return {
        "SPDXID": reference,
        "name": package.name,
        "versionInfo": package.version,
        "sourceInfo": f"{package.path or 'the image'}, found by {', '.join(package.sources)}",
        **_statements(package.licenses, package.purl if is_purl(package.purl) else None),
    }


def _statements(licenses: Sequence[str], purl: str | None) -> dict[str, Any]:
    reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
    return {
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _declared(licenses),
        "copyrightText": _UNKNOWN,
        **({"externalRefs": [reference]} if purl else {}),
    }


def _declared(licenses: Sequence[str]) -> str:
    """What the package states, as one expression: of several licences all hold."""
    terms = [license_expression(text) or _license_reference(text) for text in licenses if text]
    if len(terms) > 1:
        terms = [f"({term})" if " " in term else term for term in terms]
    return " AND ".join(terms) or _UNKNOWN


def _is_unlisted(text: str) -> bool:
    """Whether the document has to carry what the licence says."""
    return bool(text) and license_expression(text) is None


def _license_reference(text: str) -> str:
    return f"LicenseRef-{fingerprint(text)[:16]}"


def _extracted(texts: Sequence[str]) -> Iterator[dict[str, str]]:
    for text in texts:
        yield {"licenseId": _license_reference(text), "name": text, "extractedText": text}
