"""Package URLs as package records (github.com/package-url/purl-spec). Qualifiers are those Syft and Trivy write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from packageurl import PackageURL

from schema.advisories.ecosystems import normalize_name
from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.engines.documents import text
from workers.engines.report import ImageFacts, LeftOut, Packages
from workers.imports.report import Subject, named_system
from workers.inventory.notes import Notes

_PURL = 1000  # characters
_KINDS = {
    "apk": PackageType.APK,
    "cargo": PackageType.CARGO,
    "composer": PackageType.COMPOSER,
    "deb": PackageType.DEB,
    "gem": PackageType.GEM,
    "golang": PackageType.GO,
    "maven": PackageType.MAVEN,
    "npm": PackageType.NPM,
    "nuget": PackageType.NUGET,
    "pypi": PackageType.PIP,
    "rpm": PackageType.RPM,
}
_TYPES = {kind: name for name, kind in _KINDS.items()}
_DISTRIBUTION = {PackageType.APK, PackageType.DEB, PackageType.RPM}
_IMAGES = frozenset({"docker", "oci"})  # types of what is scanned, not of what is in it
_DISTRO = re.compile(r"(.+?)-([0-9].*)")
_SOURCE_RPM = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")


def parse_purl(value: object) -> PackageURL | None:
    """None for what is no package URL."""
    try:
        return PackageURL.from_string(text(value, _PURL))
    except ValueError:
        return None


def purl_of(kind: PackageType, name: str, version: str) -> PackageURL | None:
    """Of a package whose kind is known: `group:artifact`, `@scope/name`, `github.com/acme/tool`."""
    separator = ":" if kind is PackageType.MAVEN else "/"
    namespace, _, bare = name.rpartition(separator)
    try:
        return PackageURL(_TYPES[kind], namespace or None, bare, version)
    except ValueError:
        return None


@dataclass
class Shelf:
    """Builds the packages of one document. Whose system the document does not tell, a package's `distro` tells."""

    subject: Subject
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: Notes = field(default_factory=Notes)
    _builders: dict[str, Packages] = field(default_factory=dict)

    def package(
        self,
        purl: PackageURL | None,
        *,
        name: str = "",
        at: tuple[str, str] = ("", ""),
        source: tuple[str, str] | None = None,
        licenses: Iterable[str] = (),
    ) -> PackageRecord | None:
        """`name` is how the package spells itself. None for what is no package, with a note or a count."""
        if purl is None or purl.type not in _KINDS:
            if purl is None or purl.type not in _IMAGES:
                self.left_out.packages[purl.type if purl else ""] += 1
            return None
        kind, qualifiers = _KINDS[purl.type], dict(purl.qualifiers) if isinstance(purl.qualifiers, dict) else {}
        version = purl.version or ""
        epoch = qualifiers.get("epoch", "").strip("0")
        if kind in _DISTRIBUTION and epoch and ":" not in version:
            version = f"{epoch}:{version}"
        return self._builder(purl, qualifiers).record(
            kind,
            _name(kind, purl, name),
            version,
            at=at,
            source=source or _source(kind, qualifiers.get("upstream", ""), version),
            architecture=qualifiers.get("arch"),
            licenses=licenses,
        )

    def _builder(self, purl: PackageURL, qualifiers: dict[str, str]) -> Packages:
        distro = "" if self.subject.system else qualifiers.get("distro", "")
        if distro not in self._builders:
            system = self.subject.system or _system(distro, purl.namespace or "")
            facts = ImageFacts(system=system, diff_ids=self.subject.diff_ids)
            self._builders[distro] = Packages(facts, notes=self.notes)
        return self._builders[distro]


def system_of(purl: PackageURL) -> OperatingSystem | None:
    """What the package is installed on, where its package URL tells."""
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    return _system(qualifiers.get("distro", ""), purl.namespace or "")


def _system(distro: str, vendor: str) -> OperatingSystem | None:
    """Of a `distro` qualifier: `debian-12`, `rhel-9.3`, or a code name alone, which only the vendor explains."""
    if not distro:
        return None
    match = _DISTRO.fullmatch(distro)
    return named_system(match[1], match[2]) if match else named_system(vendor, distro.rpartition("-")[2])


def _name(kind: PackageType, purl: PackageURL, stated: str) -> str:
    if kind in _DISTRIBUTION:
        return purl.name
    if kind is PackageType.PIP:
        return stated if normalize_name("PyPI", stated) == normalize_name("PyPI", purl.name) else purl.name
    if kind is PackageType.MAVEN:
        return ":".join(filter(None, (purl.namespace, purl.name)))
    # A module path of Go goes on in the subpath.
    return "/".join(filter(None, (purl.namespace, purl.name, purl.subpath if kind is PackageType.GO else None)))


def _source(kind: PackageType, upstream: str, version: str) -> tuple[str, str] | None:
    """Name and version of the source package: `util-linux@2.38.1-5`, `openssl`, `bash-5.1.8-6.el9.src.rpm`."""
    if not upstream:
        return None
    if kind is PackageType.RPM:
        match = _SOURCE_RPM.fullmatch(upstream)
        # The file name of a source package has no epoch; it is that of what was built from it.
        epoch, colon, _ = version.rpartition(":")
        return (match[1], f"{epoch}{colon}{match[2]}") if match else None
    name, _, stated = upstream.rpartition("@") if "@" in upstream[1:] else (upstream, "", "")
    return name, stated or version
