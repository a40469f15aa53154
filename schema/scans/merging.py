"""Several providers' packages and findings as one list each: who said what stays known, and nothing counts twice. Pure.

- Packages are one if type, name as the ecosystem compares it, and version agree, and so does the place. A provider that
  tells no place means all the places another one tells.
- Findings are one if they are about the same package and share an id or an alias.
- Of what several say the first voice is kept, the native provider's where it speaks. What it leaves out the next one adds:
  a severity, a score, fixed versions, a title, licences. A package's layer is the lowest any of them saw.
- Misconfigurations are one if check and file agree, secrets if they are in the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from schema.advisories.ecosystems import normalize_name
from schema.advisories.matching import id_order
from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.evidence import MisconfigurationRecord, SecretRecord
from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord, Severity

_Identity: TypeAlias = tuple[PackageType, str, str]


T = TypeVar("T", MisconfigurationRecord, SecretRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One provider. `engines` are the requested engines it judged vulnerabilities for."""

    source: str  # "native", "trivy"
    engines: tuple[Engine, ...] = ()
    packages: tuple[PackageRecord, ...] = ()
    findings: tuple[FindingRecord, ...] = ()
    misconfigurations: tuple[MisconfigurationRecord, ...] = ()
    secrets: tuple[SecretRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Sighted(Generic[T]):
    """A misconfiguration or a secret, and the providers that reported it."""

    record: T
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPackage:
    record: PackageRecord
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedFinding:
    """`severities` has each source's own rating; that of the record is the first that is one."""

    record: FindingRecord
    sources: tuple[str, ...]
    engines: tuple[Engine, ...]
    severities: Mapping[str, Severity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    packages: tuple[MergedPackage, ...] = ()
    findings: tuple[MergedFinding, ...] = ()
    misconfigurations: tuple[Sighted[MisconfigurationRecord], ...] = ()
    secrets: tuple[Sighted[SecretRecord], ...] = ()


def merge(voices: Sequence[Voice]) -> Merged:
    """In the order in which they were first named, voice by voice."""
    packages = _Packages()
    for voice in voices:
        for package in voice.packages:
            packages.add(package, voice.source)
    findings = _Findings(packages)
    for voice in voices:
        for finding in voice.findings:
            findings.add(finding, voice)
    return Merged(
        packages=packages.merged(),
        findings=findings.merged(),
        misconfigurations=_united(
            ((voice.source, voice.misconfigurations) for voice in voices), by=lambda each: (each.check_id, each.path)
        ),
        secrets=_united(
            ((voice.source, voice.secrets) for voice in voices),
            # Every tool has names of its own for the rules: of one line one secret is told.
            by=lambda each: (each.path, each.place, each.line if each.line is not None else each.rule),
        ),
    )


def _united(said: Iterable[tuple[str, Iterable[T]]], *, by: Callable[[T], Hashable]) -> tuple[Sighted[T], ...]:
    """Of what several say the first voice is kept; what one voice says twice stays twice."""
    listed: list[tuple[T, list[str]]] = []
    known: dict[Hashable, list[list[str]]] = {}
    for source, records in said:
        heard: dict[Hashable, list[list[str]]] = {}
        for record in records:
            others = known.get(by(record))
            if others:
                for sources in others:
                    if source not in sources:
                        sources.append(source)
            else:
                sources = [source]
                listed.append((record, sources))
                heard.setdefault(by(record), []).append(sources)
        known |= heard
    return tuple(Sighted(record, tuple(sources)) for record, sources in listed)


def identity(package: PackageRecord) -> _Identity:
    """What makes it the same package in everybody's words."""
    return (package.type, normalize_name(package.ecosystem or "", package.name), package.version)


@dataclass(slots=True)
class _Package:
    record: PackageRecord
    sources: dict[str, None]

    def add(self, other: PackageRecord, source: str) -> None:
        self.sources[source] = None
        mine = self.record
        lower = other.layer_index >= 0 and not 0 <= mine.layer_index <= other.layer_index
        self.record = replace(
            mine,
            ecosystem=mine.ecosystem or other.ecosystem,
            architecture=mine.architecture or other.architecture,
            licenses=mine.licenses or other.licenses,
            path=mine.path or other.path,
            layer_index=other.layer_index if lower else mine.layer_index,
            layer_digest=other.layer_digest if lower else mine.layer_digest,
        )


class _Packages:
    def __init__(self) -> None:
        self._places: dict[_Identity, list[_Package]] = {}

    def add(self, package: PackageRecord, source: str) -> None:
        places = self._places.setdefault(identity(package), [])
        same = [each for each in places if not package.path or each.record.path in {"", package.path}]
        for each in same:
            each.add(package, source)
        if not same:
            places.append(_Package(package, {source: None}))

    def first(self, package: PackageRecord) -> PackageRecord:
        """As it is listed; of one in several places the first. A package nobody listed is as its finding has it."""
        places = self._places.get(identity(package))
        return places[0].record if places else package

    def merged(self) -> tuple[MergedPackage, ...]:
        return tuple(
            MergedPackage(record=each.record, sources=tuple(each.sources))
            for places in self._places.values()
            for each in places
        )


@dataclass(slots=True)
class _Finding:
    record: FindingRecord
    engines: dict[Engine, None]
    severities: dict[str, Severity]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.record.vulnerability_id, *self.record.aliases)

    def absorb(self, other: _Finding) -> None:
        mine, theirs = self.record, other.record
        flaw, *aliases = sorted({*self.names, *other.names}, key=id_order)
        self.record = replace(
            mine,
            vulnerability_id=flaw,
            aliases=tuple(aliases),
            advisory_ids=tuple(dict.fromkeys((*mine.advisory_ids, *theirs.advisory_ids))),
            severity=theirs.severity if mine.severity is Severity.UNKNOWN else mine.severity,
            cvss_score=theirs.cvss_score if mine.cvss_score is None else mine.cvss_score,
            cvss_vectors=mine.cvss_vectors or theirs.cvss_vectors,
            fixed_versions=mine.fixed_versions or theirs.fixed_versions,
            title=mine.title or theirs.title,
        )
        self.engines |= other.engines
        for source, severity in other.severities.items():
            if self.severities.get(source, Severity.UNKNOWN) is Severity.UNKNOWN:
                self.severities[source] = severity


class _Findings:
    def __init__(self, packages: _Packages) -> None:
        self._packages = packages
        self._listed: dict[int, _Finding] = {}
        self._named: dict[tuple[_Identity, str], _Finding] = {}

    def add(self, finding: FindingRecord, voice: Voice) -> None:
        package = identity(finding.package)
        new = _Finding(
            replace(finding, package=self._packages.first(finding.package)),
            dict.fromkeys(voice.engines),
            {voice.source: finding.severity},
        )
        known = {id(each): each for name in new.names if (each := self._named.get((package, name)))}
        first, *others = (*known.values(), new)  # several known ones were not known to be the same until now
        for other in others:
            first.absorb(other)
            self._listed.pop(id(other), None)
        self._listed.setdefault(id(first), first)
        self._named.update({(package, name): first for name in first.names})

    def merged(self) -> tuple[MergedFinding, ...]:
        return tuple(
            MergedFinding(
                record=each.record,
                sources=tuple(each.severities),
                engines=tuple(each.engines),
                severities=dict(each.severities),
            )
            for each in self._listed.values()
        )
