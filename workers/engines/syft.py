"""Syft: packages. Reads the layout itself, which holds exactly one manifest, as Syft wants it.

Output: the `syft-json` format, schema 16 (github.com/anchore/syft, schema/json).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.models import Engine
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import EngineFailure, Object, mapping, objects, path, text
from workers.engines.report import MAX_PACKAGES, EngineReport, ImageFacts, LeftOut, Packages, at_most

TYPES = {
    "deb": PackageType.DEB,
    "apk": PackageType.APK,
    "rpm": PackageType.RPM,
    "npm": PackageType.NPM,
    "python": PackageType.PIP,
    "gem": PackageType.GEM,
    "go-module": PackageType.GO,
    "rust-crate": PackageType.CARGO,
    "java-archive": PackageType.MAVEN,
    "jenkins-plugin": PackageType.MAVEN,
    "php-composer": PackageType.COMPOSER,
    "dotnet": PackageType.NUGET,
}
_SOURCE_RPM = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")
_MAVEN_PURL = re.compile(r"pkg:maven/([^/@?#]+)/")


def _arguments(call: Call) -> Sequence[str]:
    return ("scan", "--quiet", "--from", "oci-dir", "--output", "syft-json", "--", str(call.image))


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    if not isinstance(document.get("artifacts"), list):
        raise EngineFailure("printed a report without packages")
    packages, left_out = Packages(facts), LeftOut()
    kinds = (text(artifact.get("type")) for artifact in objects(document["artifacts"]))
    left_out.packages.update(kind for kind in kinds if kind not in TYPES)
    found = at_most(MAX_PACKAGES, "packages", read_artifacts(document["artifacts"], packages))
    return EngineReport(packages=found, warnings=(*left_out.lines(), *packages.notes.lines()))


def read_artifacts(artifacts: object, packages: Packages) -> Iterator[PackageRecord]:
    """Of package types that are not ours there is no record; Grype lists its artifacts in the same words."""
    for artifact in objects(artifacts):
        record = read_artifact(artifact, packages)
        if record is not None:
            yield record


def read_artifact(artifact: Object, packages: Packages) -> PackageRecord | None:
    kind = TYPES.get(text(artifact.get("type")))
    if kind is None:
        return None
    metadata = mapping(artifact.get("metadata"))
    name, version = text(artifact.get("name")), text(artifact.get("version"))
    if kind is PackageType.PIP:
        name = text(metadata.get("name")) or name  # as the distribution spells itself
    elif kind is PackageType.MAVEN and (group := _group(artifact, metadata)):
        name = f"{group}:{name}"
    return packages.record(
        kind,
        name,
        version,
        at=_place(artifact),
        source=_source(kind, artifact, metadata, (name, version)),
        architecture=text(metadata.get("architecture") or metadata.get("arch")) or None,
        licenses=_licenses(artifact.get("licenses")),
    )


def _place(artifact: Object) -> tuple[str, str]:
    """The primary evidence, else the first place."""
    places = list(objects(artifact.get("locations")))
    primary = [each for each in places if mapping(each.get("annotations")).get("evidence") == "primary"]
    place = next(iter(primary or places), {})
    return path(place.get("path")), text(place.get("layerID"))


def _group(artifact: Object, metadata: Object) -> str:
    stated = text(mapping(metadata.get("pomProperties")).get("groupId")) or text(metadata.get("pomGroupID"))
    purl = _MAVEN_PURL.match(text(artifact.get("purl")))
    return stated or (purl[1] if purl else "")


def _source(kind: PackageType, artifact: Object, metadata: Object, own: tuple[str, str]) -> tuple[str, str] | None:
    """Name and version of the source package: Syft has them in the metadata, Grype as the first upstream."""
    version = own[1]
    if kind is PackageType.RPM and (match := _SOURCE_RPM.fullmatch(text(metadata.get("sourceRpm")))):
        # The file name of a source package has no epoch; it is that of what was built from it.
        epoch, colon, _ = version.removeprefix("0:").rpartition(":")
        return match[1], f"{epoch}{colon}{match[2]}"
    if kind is PackageType.DEB and (name := text(metadata.get("source"))):
        return name, text(metadata.get("sourceVersion")) or version
    if kind is PackageType.APK and (name := text(metadata.get("originPackage"))):
        return name, version
    for upstream in objects(artifact.get("upstreams")):
        if name := text(upstream.get("name")):
            return name, text(upstream.get("version")) or version
    return None


def _licenses(stated: object) -> Iterator[str]:
    """Syft lists objects, Grype texts."""
    for each in stated if isinstance(stated, list) else []:
        if isinstance(each, dict):
            yield text(each.get("spdxExpression")) or text(each.get("value"))
        else:
            yield text(each)


ADAPTER = Adapter(
    engine=Engine.SYFT,
    tool="syft",
    form=ImageForm.LAYOUT,
    arguments=_arguments,
    read=_read,
    environment=lambda _: {"SYFT_CHECK_FOR_APP_UPDATE": "false"},
    withheld=(
        ("source", "metadata", "config"),
        ("source", "metadata", "labels"),
        ("descriptor", "configuration"),
    ),
)
