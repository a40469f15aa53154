"""From packages and advisories to findings. Pure: who calls brings both.

Three steps for each package: which advisories are about it and its version (OSV schema, "Evaluation"), which of them are
about the same flaw, and what is then said of that flaw. The first is done once per advisory entry and version text, the
other two once per distinct source and version, however many packages were built from it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from schema.advisories.catalog import is_first_hand
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
    """How many packages nobody could judge, by their ecosystem; `covered` are the ecosystems the store has records of.

    A language's package with an owner needs no data of its own: it is judged as the distribution's package.
    """
    counts = Counter(package.ecosystem for package in packages if package.owner is None)
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
    return _Entry.compile(affected).affects(_Installed.of(affected.ecosystem, version))


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

    - Of copies of one record in several feeds one counts: a distribution's own feed before any other, else the copy that
      changed last. What a distribution's own feed says of a CVE and a package clears it of what others file for the
      distribution under that CVE.

    Withdrawn advisories do not count, nor do older copies of them.
    """
    matcher = _Matcher(advisories)
    return [finding for package in packages for finding in matcher.findings(package)]


_Target: TypeAlias = tuple[str, str, str]  # ecosystem, name, and the version that counts under that name


def _targets(package: PackageRecord) -> tuple[_Target, ...]:
    ecosystem = package.ecosystem
    # What a distribution's package brought is patched under that package's version, which is matched itself.
    if ecosystem is None or package.owner is not None:
        return ()
    if not is_distribution(ecosystem):
        named = [(normalize_name(ecosystem, package.name), package.version)]
    else:
        named = [(package.source_name, package.source_version)]
        if names_binaries(ecosystem) and package.name != package.source_name:
            named.append((package.name, package.version))
    return tuple((filed, name, version) for filed in advisory_ecosystems(ecosystem) for name, version in named)


# --- Evaluation: the algorithm of the OSV schema, with the events sorted and their versions parsed beforehand.
# The classes below are made by the hundred thousand and never leave this module: plain slots, no frozen ones.


@dataclass(slots=True)
class _Installed:
    """A version to be judged, with its keys: it is held against many advisories."""

    text: str
    key: VersionKey | None
    semver: VersionKey | None

    @classmethod
    def of(cls, ecosystem: str, text: str) -> _Installed:
        return cls(text, version_key(ecosystem, text), semver_key(text))


@dataclass(slots=True)
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
            key = semver_key(text) if semver else version_key(ecosystem, text)
            if kind == "limit":
                unlimited = unlimited or key is None  # "*", or nothing we could hold a version against
                limits += [key] if key is not None else []
            elif kind == "introduced" and text == "0":
                events.append((None, kind))
            elif key is not None:
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


@dataclass(slots=True)
class _Entry:
    """An advisory's entry about one package, ready to be asked about many versions."""

    ecosystem: str
    ranges: list[_Range]
    versions: tuple[str, ...]  # a set would cost more than the one or two look-ups most entries see
    fixes: list[str]
    modular: bool | None  # of an RPM: whether the fix was built in a module stream, None where there is no fix to tell

    @classmethod
    def compile(cls, affected: AffectedPackage) -> _Entry:
        ecosystem = affected.ecosystem
        fixes = [text for source in affected.ranges for kind, text in source.events if kind == "fixed"]
        rpm = ecosystem_base(ecosystem) in RPM
        return cls(
            ecosystem=ecosystem,
            ranges=[_Range.compile(ecosystem, source) for source in affected.ranges],
            versions=affected.versions,
            fixes=fixes,
            modular=any(_MODULE in text for text in fixes) if rpm and fixes else None,
        )

    def affects(self, installed: _Installed) -> bool:
        if installed.text in self.versions:
            return True
        if self.modular is not None and self.modular != (_MODULE in installed.text):
            return False  # a module's builds and the others of a name are numbered independently
        if not self.ranges:
            return self._lists(installed)
        for source in self.ranges:
            key = installed.semver if source.semver else installed.key
            if key is not None and source.includes(key):
                return True
        return False

    def _lists(self, installed: _Installed) -> bool:
        """Where the list is all there is, another spelling of a listed version (1.0, 1.0.0) is that version."""
        key = installed.key
        return key is not None and any(version_key(self.ecosystem, listed) == key for listed in self.versions)

    def fixes_above(self, installed: _Installed) -> tuple[tuple[VersionKey, str], ...]:
        """Each once, ascending."""
        key = installed.key
        if key is None:
            return ()
        keyed = [(version_key(self.ecosystem, text), text) for text in self.fixes]
        return _each_once([(at, text) for at, text in keyed if at is not None and at > key])


def _each_once(fixes: Sequence[tuple[VersionKey, str]]) -> tuple[tuple[VersionKey, str], ...]:
    """Ascending; of two spellings of one version the shorter is kept."""
    if len(fixes) <= 1:
        return tuple(fixes)
    found: dict[VersionKey, str] = {}
    for key, text in sorted(fixes, key=lambda fix: (len(fix[1]), fix[1])):
        found.setdefault(key, text)
    return tuple(sorted(found.items()))


# --- One advisory: is the installed version affected?


@dataclass(slots=True)
class _Line:
    """One entry of an advisory, with what is asked of the advisory again and again."""

    record: AdvisoryRecord
    affected: AffectedPackage
    entry: _Entry
    names: tuple[str, ...]  # of the flaw: the record's id and its aliases
    cves: tuple[str, ...]
    flaw: str  # the name of these the flaw goes by
    first_hand: bool  # from the distribution's own feed
    pro: bool  # about builds only subscribers of Ubuntu Pro get

    @classmethod
    def compile(cls, record: AdvisoryRecord, affected: AffectedPackage) -> _Line:
        names = (record.id, *record.aliases)
        cves = tuple(dict.fromkeys(filter(is_cve, names)))
        return cls(
            record=record,
            affected=affected,
            entry=_Entry.compile(affected),
            names=names,
            cves=cves,
            flaw=cves[0] if len(cves) == 1 else min(names, key=id_order),
            first_hand=is_first_hand(record.feed, affected.ecosystem),
            pro=is_ubuntu_pro(affected.ecosystem),
        )

    @property
    def vectors(self) -> tuple[str, ...]:
        return self.affected.cvss_vectors or self.record.cvss_vectors


_Question: TypeAlias = tuple[_Line, _Installed]


@dataclass(slots=True)
class _Hit:
    """An advisory that is about the installed version: what judged it, and the fixes above that version."""

    line: _Line
    entries: tuple[_Entry, ...]
    fixes: tuple[tuple[VersionKey, str], ...]


def _of_one_feed(questions: Sequence[_Question]) -> Sequence[_Question]:
    """Of the questions about one record those about the copy that counts."""
    if all(line.record.feed == questions[0][0].record.feed for line, _ in questions):
        return questions
    best = max(
        (line for line, _ in questions), key=lambda line: (line.first_hand, line.record.modified, line.record.feed)
    )
    return [question for question in questions if question[0].record.feed == best.record.feed]


def _without_cleared(hits: list[_Hit], cleared: Sequence[_Line]) -> list[_Hit]:
    """Without what others say of a CVE that the distribution itself says this version does not have."""
    safe = {line.cves[0] for line in cleared if line.first_hand and len(line.cves) == 1}
    if not safe:
        return hits
    return [hit for hit in hits if hit.line.first_hand or len(hit.line.cves) != 1 or hit.line.cves[0] not in safe]


def _judge(questions: Sequence[_Question]) -> _Hit | None:
    """What one advisory's entries say about a package, None if it's not affected.

    Ubuntu's entry for a release stays open for ever when the fix came only to subscribers; the entry of Ubuntu Pro then
    tells which builds have the flaw. Its fix is one only for who has such builds already.
    """
    if len(questions) == 1 and not questions[0][0].pro:
        line, installed = questions[0]
        affected = line.entry.affects(installed)
        return _Hit(line, (line.entry,), line.entry.fixes_above(installed)) if affected else None
    judges = [question for question in questions if question[0].pro] or questions
    first = next((question for question in judges if question[0].entry.affects(question[1])), None)
    if first is None:
        return None
    subscribed = _PRO_BUILD in first[1].text
    fixes = [
        fix for line, installed in questions if subscribed or not line.pro for fix in line.entry.fixes_above(installed)
    ]
    return _Hit(first[0], tuple(line.entry for line, _ in judges), tuple(fixes))


# --- One flaw: which advisories are about it, and what they say together.


@dataclass(slots=True)
class _Statement:
    """What a finding says of its flaw, whatever the installed version."""

    id: str
    aliases: tuple[str, ...]
    advisory_ids: tuple[str, ...]
    severity: Severity
    cvss_score: float | None
    cvss_vectors: tuple[str, ...]
    title: str


@dataclass(slots=True)
class _Flaw:
    statement: _Statement
    fixed_versions: tuple[str, ...]

    def of(self, package: PackageRecord) -> FindingRecord:
        said = self.statement
        return FindingRecord(
            vulnerability_id=said.id,
            aliases=said.aliases,
            advisory_ids=said.advisory_ids,
            package=package,
            severity=said.severity,
            cvss_score=said.cvss_score,
            cvss_vectors=said.cvss_vectors,
            fixed_versions=self.fixed_versions,
            title=said.title,
        )


class _Matcher:
    """Remembers what was worked out while one set of packages is matched."""

    def __init__(self, advisories: Advisories) -> None:
        self._advisories = advisories
        self._lines: dict[LookupKey, tuple[_Line, ...]] = {}
        self._flaws: dict[tuple[_Target, ...], tuple[_Flaw, ...]] = {}
        self._alone: dict[int, _Statement] = {}  # of flaws only one line is about, by its identity; `_lines` keeps it

    def findings(self, package: PackageRecord) -> Iterator[FindingRecord]:
        targets = _targets(package)
        flaws = self._flaws.get(targets)
        if flaws is None:
            flaws = self._flaws[targets] = self._find(targets)
        return (flaw.of(package) for flaw in flaws)

    def _find(self, targets: tuple[_Target, ...]) -> tuple[_Flaw, ...]:
        hits: list[_Hit] = []
        cleared: list[_Line] = []
        for asked in self._questions(targets):
            questions = asked if len(asked) == 1 else _of_one_feed(asked)
            if questions[0][0].record.withdrawn is not None:
                continue
            hit = _judge(questions)
            if hit is None:
                cleared.append(questions[0][0])
            else:
                hits.append(hit)
        hits = _without_cleared(hits, cleared)
        return tuple(sorted(self._join(hits, cleared), key=lambda flaw: id_order(flaw.statement.id))) if hits else ()

    def _questions(self, targets: tuple[_Target, ...]) -> Collection[Sequence[_Question]]:
        """What to ask about the package, by advisory."""
        questions: dict[str, list[_Question]] = {}
        for ecosystem, name, version in targets:
            if lines := self._lines_about((ecosystem, name)):
                installed = _Installed.of(ecosystem, version)
                for line in lines:
                    questions.setdefault(line.record.id, []).append((line, installed))
        return questions.values()

    def _lines_about(self, key: LookupKey) -> tuple[_Line, ...]:
        lines = self._lines.get(key)
        if lines is None:
            filed = self._advisories.get(key, ())
            lines = tuple(_Line.compile(record, affected) for record, affected in filed)
            self._lines[key] = lines
        return lines

    def _join(self, hits: Sequence[_Hit], cleared: Sequence[_Line]) -> Iterator[_Flaw]:
        own, bulletins = _by_flaw(hits)
        for flaw, group in own.items():
            covering = bulletins.pop(flaw, [])
            if len(group) == 1 and not covering:
                yield _Flaw(self._say_alone(flaw, group[0]), _fixed_versions(group))
            else:
                yield _Flaw(_say(flaw, group, covering), _fixed_versions([*group, *covering]))
        if not bulletins:
            return
        # A record about one CVE knows better than a bulletin when that one was fixed.
        known_safe = {line.cves[0] for line in cleared if len(line.cves) == 1}
        for flaw, covering in bulletins.items():
            if flaw not in known_safe:
                yield _Flaw(_say(flaw, [], covering), _fixed_versions(covering))

    def _say_alone(self, flaw: str, hit: _Hit) -> _Statement:
        said = self._alone.get(id(hit.line))
        if said is None:
            said = self._alone[id(hit.line)] = _say(flaw, [hit], [])
        return said


def _by_flaw(hits: Sequence[_Hit]) -> tuple[dict[str, list[_Hit]], dict[str, list[_Hit]]]:
    """(the advisories about each flaw alone, the bulletins that cover it among others), by the flaw's id.

    A bulletin is filed under the flaw its CVE belongs to, also where that goes by a lower CVE id.
    """
    covering = [hit for hit in hits if len(hit.line.cves) > 1]
    groups = _connected([hit for hit in hits if len(hit.line.cves) <= 1] if covering else hits)
    own = {min((hit.line.flaw for hit in group), key=id_order): group for group in groups}
    bulletins: dict[str, list[_Hit]] = defaultdict(list)
    if covering:
        flaw_of = {name: flaw for flaw, group in own.items() for hit in group for name in hit.line.names}
        for hit in covering:
            for flaw in dict.fromkeys(flaw_of.get(cve, cve) for cve in hit.line.cves):
                bulletins[flaw].append(hit)
    return own, bulletins


def _connected(hits: Sequence[_Hit]) -> list[list[_Hit]]:
    """Groups of advisories that share a name, directly or through others."""
    if len({name for hit in hits for name in hit.line.names}) == sum(len(hit.line.names) for hit in hits):
        return [[hit] for hit in hits]
    groups: dict[str, list[_Hit]] = {}  # by each of their names; of one group it's one list
    for hit in hits:
        known = {id(groups[name]): groups[name] for name in hit.line.names if name in groups}.values()
        joined = [*(member for group in known for member in group), hit]
        for member in joined:
            groups.update(dict.fromkeys(member.line.names, joined))
    return list({id(group): group for group in groups.values()}.values())


@lru_cache(maxsize=65_536)
def id_order(name: str) -> tuple[int, int, int, str]:
    """CVE ids by year and number, then GHSA ids, then all others."""
    if number := cve_number(name):
        return (0, *number, name)
    return (1 if name.startswith("GHSA-") else 2, 0, 0, name)


def _say(flaw: str, own: Sequence[_Hit], bulletins: Sequence[_Hit]) -> _Statement:
    deciding = [hit.line for hit in own or bulletins]
    vectors = _ordered_vectors(deciding)
    score = choose_score(vectors)
    return _Statement(
        id=flaw,
        aliases=tuple(sorted({name for hit in own for name in hit.line.names} - {flaw}, key=id_order)),
        advisory_ids=tuple(sorted({hit.line.record.id for hit in [*own, *bulletins]}, key=id_order)),
        severity=_severity(deciding, score.severity if score else None),
        cvss_score=score.score if score else _score_without_vector(deciding),
        cvss_vectors=vectors,
        title=_title(deciding) or flaw,
    )


def _severity(lines: Sequence[_Line], scored: Severity | None) -> Severity:
    if scored is not None and not is_distribution(lines[0].affected.ecosystem):
        return scored
    worst = worst_severity(line.affected.severity or line.record.severity for line in lines)
    return scored if worst is Severity.UNKNOWN and scored is not None else worst


def _score_without_vector(lines: Iterable[_Line]) -> float | None:
    return max((line.record.cvss_score for line in lines if line.record.cvss_score is not None), default=None)


def _ordered_vectors(lines: Iterable[_Line]) -> tuple[str, ...]:
    """Each vector once, newest CVSS version first."""
    scores = {score for line in lines for vector in line.vectors if (score := score_vector(vector))}
    return tuple(
        score.vector for score in sorted(scores, key=lambda score: (score.version, score.vector), reverse=True)
    )


def _title(lines: Iterable[_Line]) -> str:
    """GitHub's summaries are written as titles; others are often the first sentence of a description."""
    titled = [line.record for line in lines if line.record.summary]
    titled.sort(key=lambda record: (not record.id.startswith("GHSA-"), id_order(record.id)))
    return titled[0].summary if titled else ""


def _fixed_versions(hits: Sequence[_Hit]) -> tuple[str, ...]:
    fixes = hits[0].fixes if len(hits) == 1 else tuple(fix for hit in hits for fix in hit.fixes)
    entries = [entry for hit in hits for entry in hit.entries]
    if len(entries) == 1 and len(entries[0].ranges) == 1:
        return tuple(text for _, text in fixes)  # what one range calls fixed, it calls fixed
    ordered = [text for _, text in _each_once(fixes)]
    ecosystem = hits[0].line.affected.ecosystem
    sound = []
    for text in ordered:
        fix = _Installed.of(ecosystem, text)
        if not any(entry.affects(fix) for entry in entries):
            sound.append(text)
    return tuple(sound or ordered)
