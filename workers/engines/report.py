"""What one engine said of one image, in our records, and the ways from its words to them that all engines share."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from schema.advisories.ecosystems import normalize_name
from schema.advisories.matching import id_order
from schema.advisories.osv import is_cve
from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from schema.scans.evidence import ImageEfficiency, MisconfigurationRecord, SecretRecord
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import choose_score, severity_from_words
from workers.engines.documents import EngineFailure
from workers.inventory.notes import Notes
from workers.inventory.packages import distribution_package, language_package
from workers.oci.files import ImageFile

T = TypeVar("T")
MAX_PACKAGES = 100_000  # as many as the native provider takes
MAX_FINDINGS = 200_000
MAX_CHECKS = 10_000  # misconfigurations, and separately secrets
MAX_ALIASES = 50
MAX_VERSIONS = 20  # fixed versions of one finding
_LISTED = 20  # kinds of what was left out that a warning names
_ADVISORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,59}")
_VERSION = re.compile(r"[!-~]{1,300}")
_DISTRIBUTIONS = {PackageType.DEB: "debian", PackageType.APK: "alpine", PackageType.RPM: "redhat"}
# Type of the package URL, and the OSV ecosystem.
_LANGUAGES = {
    PackageType.NPM: ("npm", "npm"),
    PackageType.PIP: ("pypi", "PyPI"),
    PackageType.GEM: ("gem", "RubyGems"),
    PackageType.GO: ("golang", "Go"),
    PackageType.CARGO: ("cargo", "crates.io"),
    PackageType.MAVEN: ("maven", "Maven"),
    PackageType.COMPOSER: ("composer", "Packagist"),
    PackageType.NUGET: ("nuget", "NuGet"),
}
_STANDARD_LIBRARY = "stdlib"  # of Go; its version is that of the toolchain, as advisories write it: 1.22.3
_RPM_KEYS = "gpg-pubkey"  # keys, which RPM lists among the packages


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What we know of the image ourselves: a tool's own reading of it decides neither ecosystem nor layer numbers."""

    system: OperatingSystem | None
    diff_ids: tuple[str, ...]  # of the layers, lowest first


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """One engine's answer. `packages` and `findings` are None where it did not look for any, which is not "none found".

    `unjudged` counts findings that could not be taken over: without them the rest would read like a whole.
    """

    packages: tuple[PackageRecord, ...] | None = None
    findings: tuple[FindingRecord, ...] | None = None
    misconfigurations: tuple[MisconfigurationRecord, ...] = ()
    secrets: tuple[SecretRecord, ...] = ()
    efficiency: ImageEfficiency | None = None
    warnings: tuple[str, ...] = ()
    unjudged: int = 0


@dataclass(slots=True)
class LeftOut:
    """Counts what a document lists and nobody here reads, by kind: it is told, not invented."""

    packages: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)

    def lines(self) -> tuple[str, ...]:
        return (
            *_told(self.packages, "packages of kinds that are not read here"),
            *_told(self.findings, "findings about what is no package that is read here"),
        )


def _told(counted: Counter[str], what: str) -> tuple[str, ...]:
    if not counted:
        return ()
    kinds = ", ".join(f"{count} {kind or 'without a kind'}" for kind, count in counted.most_common(_LISTED))
    return (f"Left out: {counted.total()} {what} ({kinds})",)


_Place: TypeAlias = tuple[str, str]  # path, diff id


@dataclass
class Packages:
    """Builds package records by the very rules of the native inventory, so that one package has one name everywhere."""

    facts: ImageFacts
    notes: Notes = field(default_factory=Notes)

    def record(
        self,
        kind: PackageType,
        name: str,
        version: str,
        *,
        at: _Place,
        source: tuple[str, str] | None = None,
        architecture: str | None = None,
        licenses: Iterable[str] = (),
    ) -> PackageRecord | None:
        """`name` of a Maven artifact is `group:artifact`; `source` is name and version of the source package.

        None with a note for what cannot be a package.
        """
        if kind is PackageType.RPM and name == _RPM_KEYS:
            return None
        if kind is PackageType.RPM:
            version = version.removeprefix("0:")
        if kind is PackageType.GO and name == _STANDARD_LIBRARY:
            version = version.removeprefix("go").removeprefix("v")
        file = self._file(at)
        if kind in _DISTRIBUTIONS:
            return distribution_package(
                kind,
                name,
                version,
                vendor=_DISTRIBUTIONS[kind],
                system=self.facts.system,
                source=source,
                architecture=architecture,
                licenses=licenses,
                database=file,
                layer=file,
                notes=self.notes,
            )
        purl_type, ecosystem = _LANGUAGES[kind]
        namespace, _, bare = name.rpartition(":" if kind is PackageType.MAVEN else "/")
        return language_package(
            kind,
            name,
            version,
            purl=(purl_type, namespace or None, bare),
            ecosystem=ecosystem,
            source_name=normalize_name(ecosystem, name),
            licenses=licenses,
            file=file,
            notes=self.notes,
        )

    def _file(self, at: _Place) -> ImageFile:
        path, diff_id = at
        index = self.layer_index(diff_id)
        return ImageFile(path=path, content=b"", layer_index=index, layer_digest=diff_id if index >= 0 else "")

    def layer_index(self, diff_id: str) -> int:
        """-1 for a layer the image does not have."""
        try:
            return self.facts.diff_ids.index(diff_id)
        except ValueError:
            return -1


def joined_version(epoch: str, version: str, release: str) -> str:
    """`epoch:version-release` as dpkg and RPM write it: no epoch 0, and no release where there is none."""
    return f"{f'{epoch}:' if epoch.strip('0') else ''}{version}{f'-{release}' if release else ''}"


def severity_of(words: str) -> Severity:
    """The engine's own rating; a word we do not know is UNKNOWN."""
    return severity_from_words(words) or Severity.UNKNOWN


def findings(
    names: Iterable[str],
    package: PackageRecord,
    *,
    severity: Severity,
    vectors: Iterable[str] = (),
    fixed: Iterable[str] = (),
    title: str = "",
) -> Iterator[FindingRecord]:
    """The flaw of these names, of which the first is the record the engine went by; none where none can be a name.

    Names with several CVEs among them are a bulletin's: it counts for each of its CVEs (as in schema.advisories.matching).
    """
    known = list(dict.fromkeys(name for name in names if _ADVISORY.fullmatch(name)))[:MAX_ALIASES]
    cves = [name for name in known if is_cve(name)]
    flaws = [[cve] for cve in cves] if len(cves) > 1 else [sorted(known, key=id_order)] if known else []
    valid = tuple(dict.fromkeys(vector for vector in vectors if choose_score([vector])))[:MAX_VERSIONS]
    score = choose_score(valid)
    versions = tuple(dict.fromkeys(each for each in fixed if _VERSION.fullmatch(each)))[:MAX_VERSIONS]
    for flaw, *aliases in flaws:
        yield FindingRecord(
            vulnerability_id=flaw,
            aliases=tuple(aliases),
            advisory_ids=(known[0],),
            package=package,
            severity=severity,
            cvss_score=score.score if score else None,
            cvss_vectors=valid,
            fixed_versions=versions,
            title=title,
        )


def at_most(most: int, what: str, found: Iterable[T]) -> tuple[T, ...]:
    """Raises EngineFailure for more: a part of an answer would read like the whole."""
    taken = tuple(itertools.islice(found, most + 1))
    if len(taken) > most:
        raise EngineFailure(f"reported more than {most:,} {what}")
    return taken
