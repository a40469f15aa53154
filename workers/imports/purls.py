"""Package URLs as package records (github.com/package-url/purl-spec). Qualifiers are those Syft and Trivy write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from packageurl import PackageURL

from schema.dependencies.purls import DISTRIBUTION, IMAGES, KINDS, comparable_name, package_name, read_purl
from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.engines.documents import text
from workers.engines.report import ImageFacts, LeftOut, Packages
from workers.imports.report import Subject, named_system
from workers.inventory.notes import Notes

_PURL = 1000  # characters
_DISTRO = re.compile(r"(.+?)-([0-9].*)")
_SOURCE_RPM = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")


def parse_purl(value: object) -> PackageURL | None:
    """None for what is no package URL."""
    return read_purl(text(value, _PURL))


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
        if purl is None or purl.type not in KINDS:
            if purl is None or purl.type not in IMAGES:
                self.left_out.packages[purl.type if purl else ""] += 1
            return None
        kind, qualifiers = KINDS[purl.type], dict(purl.qualifiers) if isinstance(purl.qualifiers, dict) else {}
        version = purl.version or ""
        epoch = qualifiers.get("epoch", "").strip("0")
        if kind in DISTRIBUTION and epoch and ":" not in version:
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
    name = package_name(kind, purl)
    is_same = kind is PackageType.PIP and comparable_name(kind, stated) == comparable_name(kind, name)
    return stated if is_same else name


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
