"""From packages and advisories to findings. Pure: who calls brings both.

Three steps for each package: which advisories are about it and its version (OSV schema, "Evaluation"), which of them are
about the same flaw, and what is then said of that flaw. The first is done once per advisory entry and version text, the
other two once per distinct source and version, however many packages were built from it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from schema.advisories.ecosystems import (
    RPM,
    advisory_ecosystems,
    ecosystem_base,
    is_distribution,
    is_ubuntu_pro,
    names_binaries,
    normalize_name,
)
from schema.advisories.osv import cve_number, is_cve
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.advisories.versions import VersionKey, semver_key, version_key
from schema.dependencies.records import PackageRecord
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import choose_score, score_vector, worst_severity

UNKNOWN_DISTRIBUTION = "unknown distribution"

LookupKey: TypeAlias = tuple[str, str]  # (ecosystem, name) as advisories are filed
Advisories: TypeAlias = Mapping[LookupKey, Sequence[tuple[AdvisoryRecord, AffectedPackage]]]

_MODULE = ".module"  # in the release of an RPM that belongs to a module stream: 1.module+el8.4.0+…, 1.module_el8…
_PRO_BUILD = "esm"  # in the version of a package that comes from Ubuntu Pro


def lookup_keys(package: PackageRecord) -> tuple[LookupKey, ...]:
    """Every (ecosystem, name) an advisory about the package may be filed under; none for an unknown distribution."""
    return tuple((ecosystem, name) for ecosystem, name, _ in _targets(package))


def uncovered_ecosystems(packages: Iterable[PackageRecord], covered: Collection[str]) -> dict[str, int]:
    """How many packages nobody could judge, by their ecosystem; `covered` are the ecosystems the store has records of."""
    counts = Counter(package.ecosystem for package in packages)
    return {
        ecosystem or UNKNOWN_DISTRIBUTION: count
        for ecosystem, count in counts.items()
        if not (ecosystem and covering_ecosystems(ecosystem, covered))
    }


def covering_ecosystems(ecosystem: str, covered: Collection[str]) -> tuple[str, ...]:
    """The store's ecosystems that speak for a package of `ecosystem`: "Ubuntu" and "Ubuntu:22.04:LTS" for the latter."""
    return tuple(name for name in advisory_ecosystems(ecosystem) if name in covered)


def is_affected(affected: AffectedPackage, version: str) -> bool:
    """Whether an advisory's entry is about the version: listed, or within one of the ranges."""
    return _Entry.compile(affected).affects(version)


def match_packages(packages: Iterable[PackageRecord], advisories: Advisories) -> list[FindingRecord]:
    """The findings of all packages: in the packages' order, of one package by the flaw's id.

    What the records about one package say is joined into one finding per flaw:

    - Records that share an id or an alias are about one flaw. A record that names several CVEs (a distribution's bulletin)
      joins nothing: it counts for each of its CVEs, unless that CVE has a record of its own which says otherwise.
    - The flaw's id is its lowest CVE id; else its GHSA id; else the first of its ids.
    - Severity: a distribution's own rating of its package, else the chosen CVSS vector of all records (`choose_score`),
      else their words; of several the worst. A bulletin's rating counts only for a CVE without a record of its own,
      because it is that of its worst flaw.
    - Fixed versions are those above the installed one, lowest first, without any that another record of the flaw still
      calls affected (unless that leaves none).

    Withdrawn advisories do not count.
    """
    matcher = _Matcher(advisories)
    return [finding for package in packages for finding in matcher.findings(package)]


_Target: TypeAlias = tuple[str, str, str]  # ecosystem, name, and the version that counts under that name


def _targets(package: PackageRecord) -> tuple[_Target, ...]:
    ecosystem = package.ecosystem
    if ecosystem is None:
        return ()
    if not is_distribution(ecosystem):
        named = [(normalize_name(ecosystem, package.name), package.version)]
    else:
        named = [(package.source_name, package.source_version)]
        if names_binaries(ecosystem) and package.name != package.source_name:
            named.append((package.name, package.version))
    return tuple((filed, name, version) for filed in advisory_ecosystems(ecosystem) for name, version in named)


# --- Evaluation: the algorithm of the OSV schema, with the events sorted and their versions parsed beforehand.


@dataclass(frozen=True, slots=True)
class _Range:
    semver: bool
    events: tuple[tuple[VersionKey | None, str], ...]  # by version, None is "before any version"
    limits: tuple[VersionKey, ...]  # empty: no limit

    @classmethod
    def compile(cls, ecosystem: str, source: VersionRange) -> _Range:
        semver = source.type == "SEMVER"
        events: list[tuple[VersionKey | None, str]] = []
        limits: list[VersionKey] = []
        unlimited = False
        for kind, text in source.events:
            if kind == "limit":
                key = _key(ecosystem, text, semver=semver)
                unlimited = unlimited or key is None  # "*", or nothing we could hold a version against
                limits += [key] if key is not None else []
            elif kind == "introduced" and text == "0":
                events.append((None, kind))
            elif (key := _key(ecosystem, text, semver=semver)) is not None:
                events.append((key, kind))
        # Stable: of two events at one version, the document's order tells which state it ends in.
        events.sort(key=lambda event: (event[0] is not None, event[0] or ()))
        return cls(semver, tuple(events), () if unlimited else tuple(limits))

    def includes(self, version: VersionKey) -> bool:
        if self.limits and not any(version < limit for limit in self.limits):
            return False
        vulnerable = False
        for at, kind in self.events:
            if at is None:
                vulnerable = True
            elif version < at:
                break
            elif kind == "introduced":
                vulnerable = True
            elif kind == "fixed" or version > at:
                vulnerable = False
        return vulnerable


def _key(ecosystem: str, text: str, *, semver: bool) -> VersionKey | None:
    return semver_key(text) if semver else version_key(ecosystem, text)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An advisory's entry about one package, ready to be asked about many versions."""

    ecosystem: str
    ranges: tuple[_Range, ...]
    versions: frozenset[str]
    fixed: tuple[str, ...]
    modular: bool | None  # of an RPM: whether the fix was built in a module stream, None where there is no fix to tell

    @classmethod
    def compile(cls, affected: AffectedPackage) -> _Entry:
        events = [event for source in affected.ranges for event in source.events]
        fixed = tuple(dict.fromkeys(text for kind, text in events if kind == "fixed"))
        rpm = ecosystem_base(affected.ecosystem) in RPM
        return cls(
            ecosystem=affected.ecosystem,
            ranges=tuple(_Range.compile(affected.ecosystem, source) for source in affected.ranges),
            versions=frozenset(affected.versions),
            fixed=fixed,
            modular=any(_MODULE in text for text in fixed) if rpm and fixed else None,
        )

    def affects(self, version: str) -> bool:
        if version in self.versions:
            return True
        if self.modular is not None and self.modular != (_MODULE in version):
            return False  # a module's builds and the others of a name are numbered independently
        if not self.ranges:
            return self._lists(version)
        for source in self.ranges:
            key = _key(self.ecosystem, version, semver=source.semver)
            if key is not None and source.includes(key):
                return True
        return False

    def _lists(self, version: str) -> bool:
        """Where the list is all there is, another spelling of a listed version (1.0, 1.0.0) is that version."""
        key = version_key(self.ecosystem, version)
        return key is not None and any(version_key(self.ecosystem, listed) == key for listed in self.versions)

    def fixes_above(self, version: str) -> Iterator[str]:
        installed = version_key(self.ecosystem, version)
        for text in self.fixed:
            key = version_key(self.ecosystem, text)
            if installed is not None and key is not None and key > installed:
                yield text


# --- One flaw: which records are about it, and what they say together.


@dataclass(frozen=True, slots=True)
class _Question:
    """One entry of an advisory, and the installed version to hold against it."""

    record: AdvisoryRecord
    affected: AffectedPackage
    entry: _Entry
    version: str


@dataclass(frozen=True, slots=True)
class _Hit:
    """An advisory that is about the installed version. `fixes` are those above it, `entries` what judges a version."""

    record: AdvisoryRecord
    affected: AffectedPackage
    entries: tuple[_Entry, ...]
    fixes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return _names(self.record)

    @property
    def cves(self) -> tuple[str, ...]:
        return _cves(self.record)

    @property
    def vectors(self) -> tuple[str, ...]:
        return self.affected.cvss_vectors or self.record.cvss_vectors


def _names(record: AdvisoryRecord) -> tuple[str, ...]:
    return (record.id, *record.aliases)


def _cves(record: AdvisoryRecord) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(is_cve, _names(record))))


@dataclass(frozen=True, slots=True)
class _Flaw:
    """A finding without its package."""

    id: str
    aliases: tuple[str, ...]
    advisory_ids: tuple[str, ...]
    severity: Severity
    cvss_score: float | None
    cvss_vectors: tuple[str, ...]
    fixed_versions: tuple[str, ...]
    title: str

    def of(self, package: PackageRecord) -> FindingRecord:
        return FindingRecord(
            vulnerability_id=self.id,
            aliases=self.aliases,
            advisory_ids=self.advisory_ids,
            package=package,
            severity=self.severity,
            cvss_score=self.cvss_score,
            cvss_vectors=self.cvss_vectors,
            fixed_versions=self.fixed_versions,
            title=self.title,
        )


class _Matcher:
    """Remembers what was worked out while one set of packages is matched."""

    def __init__(self, advisories: Advisories) -> None:
        self._advisories = advisories
        self._entries: dict[int, _Entry] = {}  # by the identity of the affected package, which `advisories` keeps alive
        self._flaws: dict[tuple[_Target, ...], tuple[_Flaw, ...]] = {}

    def findings(self, package: PackageRecord) -> Iterator[FindingRecord]:
        targets = _targets(package)
        flaws = self._flaws.get(targets)
        if flaws is None:
            flaws = self._flaws[targets] = self._find(targets)
        return (flaw.of(package) for flaw in flaws)

    def _find(self, targets: tuple[_Target, ...]) -> tuple[_Flaw, ...]:
        hits: list[_Hit] = []
        cleared: list[AdvisoryRecord] = []
        for questions in self._questions(targets):
            hit = _judge(questions)
            if hit is None:
                cleared.append(questions[0].record)
            else:
                hits.append(hit)
        return tuple(sorted(_flaws(hits, cleared), key=lambda flaw: _id_order(flaw.id))) if hits else ()

    def _questions(self, targets: tuple[_Target, ...]) -> Collection[Sequence[_Question]]:
        """What to ask about the package, by advisory."""
        questions: dict[str, list[_Question]] = defaultdict(list)
        for ecosystem, name, version in targets:
            for record, affected in self._advisories.get((ecosystem, name), ()):
                if record.withdrawn is None:
                    questions[record.id].append(_Question(record, affected, self._entry(affected), version))
        return questions.values()

    def _entry(self, affected: AffectedPackage) -> _Entry:
        entry = self._entries.get(id(affected))
        if entry is None:
            entry = self._entries[id(affected)] = _Entry.compile(affected)
        return entry


def _judge(questions: Sequence[_Question]) -> _Hit | None:
    """What one advisory says about a package, None if it's not affected.

    Ubuntu's entry for a release stays open for ever when the fix came only to subscribers; the entry of Ubuntu Pro then
    tells which builds have the flaw. Its fix is one only for who has such builds already.
    """
    pro = [question for question in questions if is_ubuntu_pro(question.affected.ecosystem)]
    judges = pro or questions
    affecting = [question for question in judges if question.entry.affects(question.version)]
    if not affecting:
        return None
    first = affecting[0]
    subscribed = _PRO_BUILD in first.version
    fixes = dict.fromkeys(
        fix
        for question in questions
        if subscribed or not is_ubuntu_pro(question.affected.ecosystem)
        for fix in question.entry.fixes_above(question.version)
    )
    return _Hit(first.record, first.affected, tuple(question.entry for question in judges), tuple(fixes))


def _flaws(hits: Sequence[_Hit], cleared: Sequence[AdvisoryRecord]) -> Iterator[_Flaw]:
    own, bulletins = _by_flaw(hits)
    for flaw, records in own.items():
        yield _say(flaw, records, bulletins.pop(flaw, []))
    if not bulletins:
        return
    # A record about one CVE knows better than a bulletin when that one was fixed.
    known_safe = {cves[0] for record in cleared if len(cves := _cves(record)) == 1}
    for flaw, records in bulletins.items():
        if flaw not in known_safe:
            yield _say(flaw, [], records)


def _by_flaw(hits: Sequence[_Hit]) -> tuple[dict[str, list[_Hit]], dict[str, list[_Hit]]]:
    """(the records about each flaw alone, the bulletins that cover it among others), by the flaw's id.

    A bulletin is filed under the flaw its CVE belongs to, also where that goes by a lower CVE id.
    """
    single = sorted((hit for hit in hits if len(hit.cves) <= 1), key=lambda hit: _id_order(hit.record.id))
    own: dict[str, list[_Hit]] = {}
    flaw_of: dict[str, str] = {}
    for group in _connected(single):
        names = {name for hit in group for name in hit.names}
        flaw = min(names, key=_id_order)
        own[flaw] = group
        flaw_of.update(dict.fromkeys(names, flaw))
    bulletins: dict[str, list[_Hit]] = defaultdict(list)
    for hit in hits:
        if len(hit.cves) > 1:
            for flaw in dict.fromkeys(flaw_of.get(cve, cve) for cve in hit.cves):
                bulletins[flaw].append(hit)
    return own, bulletins


def _connected(hits: Sequence[_Hit]) -> list[list[_Hit]]:
    """Groups of records that share a name, directly or through others."""
    groups: dict[str, list[_Hit]] = {}  # by each of their names; of one group it's one list
    for hit in hits:
        known = {id(groups[name]): groups[name] for name in hit.names if name in groups}.values()
        joined = [*(member for group in known for member in group), hit]
        for name in {name for member in joined for name in member.names}:
            groups[name] = joined
    return list({id(group): group for group in groups.values()}.values())


def _id_order(name: str) -> tuple[int, int, int, str]:
    """CVE ids by year and number, then GHSA ids, then all others."""
    if number := cve_number(name):
        return (0, *number, name)
    return (1 if name.startswith("GHSA-") else 2, 0, 0, name)


def _say(flaw: str, own: Sequence[_Hit], bulletins: Sequence[_Hit]) -> _Flaw:
    deciding = own or bulletins
    hits = [*own, *bulletins]
    vectors = _ordered_vectors(deciding)
    score = choose_score(vectors)
    return _Flaw(
        id=flaw,
        aliases=tuple(sorted({name for hit in own for name in hit.names} - {flaw}, key=_id_order)),
        advisory_ids=tuple(sorted({hit.record.id for hit in hits}, key=_id_order)),
        severity=_severity(deciding, score.severity if score else None),
        cvss_score=score.score if score else _score_without_vector(deciding),
        cvss_vectors=vectors,
        fixed_versions=_fixed_versions(hits),
        title=_title(deciding) or flaw,
    )


def _severity(hits: Sequence[_Hit], scored: Severity | None) -> Severity:
    stated = [hit.affected.severity or hit.record.severity for hit in hits]
    if scored is not None and not is_distribution(hits[0].affected.ecosystem):
        return scored
    worst = worst_severity(stated)
    return scored if worst is Severity.UNKNOWN and scored is not None else worst


def _score_without_vector(hits: Iterable[_Hit]) -> float | None:
    return max((hit.record.cvss_score for hit in hits if hit.record.cvss_score is not None), default=None)


def _ordered_vectors(hits: Iterable[_Hit]) -> tuple[str, ...]:
    """Each vector once, newest CVSS version first."""
    scores = {score for hit in hits for vector in hit.vectors if (score := score_vector(vector))}
    return tuple(
        score.vector for score in sorted(scores, key=lambda score: (score.version, score.vector), reverse=True)
    )


def _fixed_versions(hits: Sequence[_Hit]) -> tuple[str, ...]:
    ecosystem = hits[0].affected.ecosystem
    by_key: dict[VersionKey | None, str] = {}
    # Of two spellings of one version the shorter is kept.
    for fix in sorted({fix for hit in hits for fix in hit.fixes}, key=lambda fix: (len(fix), fix)):
        by_key.setdefault(version_key(ecosystem, fix), fix)
    ordered = [fix for _, fix in sorted(by_key.items(), key=lambda item: item[0] or ())]
    sound = [fix for fix in ordered if not any(entry.affects(fix) for hit in hits for entry in hit.entries)]
    return tuple(sound or ordered)


def _title(hits: Iterable[_Hit]) -> str:
    """GitHub's summaries are written as titles; others are often the first sentence of a description."""
    titled = [hit.record for hit in hits if hit.record.summary]
    titled.sort(key=lambda record: (not record.id.startswith("GHSA-"), _id_order(record.id)))
    return titled[0].summary if titled else ""
