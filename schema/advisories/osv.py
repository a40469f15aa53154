"""OSV documents to advisory records: the rules of the OSV schema (ossf.github.io/osv-schema), and what feeds make of it.

Unknown keys are ignored, as the schema asks. What decides a match (ids, names, versions, ranges) is read strictly: a
record that breaks there is refused as a whole, because half of it would be a silent "not affected".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from schema.advisories.ecosystems import is_distribution, normalize_name
from schema.advisories.feeds import UnreadableDocument
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import (
    choose_score,
    score_vector,
    severity_from_words,
    severity_of_score,
    worst_severity,
)

_Object: TypeAlias = Mapping[str, object]

MAX_ID = 60
MAX_ECOSYSTEM = 100
MAX_NAME = 300
MAX_VERSION = 300
MAX_SUMMARY = 500
MAX_DETAILS = 50_000
MAX_URL = 2_000
MAX_REFERENCES = 200
MAX_ALIASES = 5_000
MAX_AFFECTED = 20_000
MAX_RANGES = 200
MAX_EVENTS = 2_000
MAX_VERSIONS = 50_000
MAX_VECTORS = 20
_DERIVED_SUMMARY = 200

_RANGE_TYPES = ("ECOSYSTEM", "SEMVER")
_EVENT_KINDS = ("introduced", "fixed", "last_affected", "limit")
_CVE = re.compile(r"CVE-([0-9]{4})-([0-9]{4,})")
_PREFIXED_CVE = re.compile(r"[A-Z]+-(CVE-[0-9]{4}-[0-9]{4,})")  # UBUNTU-CVE-2021-3609, ALPINE-CVE-…, DEBIAN-CVE-…
_SUMMARY_RATING = re.compile(r"\s*([A-Za-z]+)\s*:")  # "Important: openssl security update", of the Red Hat family
_CRLF_OR_NUL = re.compile(r"[\r\x00]")


class AdvisoryFormatError(ValueError):
    """A document that is no OSV record. The message names the record, the field and what is wrong with it."""


def cve_number(name: str) -> tuple[int, int] | None:
    """(year, number) of a CVE id, None for any other name."""
    match = _CVE.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def is_cve(name: str) -> bool:
    return _CVE.fullmatch(name) is not None


def parse_osv(document: object) -> AdvisoryRecord:
    """Reads one OSV record.

    Texts for people are cut to size; lists that decide a match are not: a record with too many of them is refused.
    `aliases` are the names of the same flaw. A distribution's record tells them in `upstream`, an older one only in
    `related`, and a name like `UBUNTU-CVE-2021-3609` also tells the CVE's. Raises AdvisoryFormatError.
    """
    if isinstance(document, UnreadableDocument):
        raise AdvisoryFormatError(document.reason)
    if not isinstance(document, Mapping):
        raise AdvisoryFormatError("not an OSV record: expected an object")
    identity = document.get("id")
    if not isinstance(identity, str) or not identity or len(identity) > MAX_ID or "\x00" in identity:
        raise AdvisoryFormatError(f"not an OSV record: `id` must be a text of 1-{MAX_ID} characters")
    try:
        return _read_record(identity, document)
    except AdvisoryFormatError as error:
        raise AdvisoryFormatError(f"{identity}: {error}") from None


def _read_record(identity: str, document: _Object) -> AdvisoryRecord:
    entries = _objects(document, "affected", most=MAX_AFFECTED)
    affected = tuple(
        dict.fromkeys(
            package
            for index, entry in enumerate(entries)
            if (package := _read_affected(entry, f"affected.{index}")) is not None
        )
    )
    # Of every entry, also of those without a range we can evaluate: whose record it is does not depend on that.
    distribution = bool(entries) and all(is_distribution(_ecosystem_of(entry)) for entry in entries)
    summary = _prose(document, "summary", most=MAX_SUMMARY)
    details = _prose(document, "details", most=MAX_DETAILS)
    rating = _Rating.of(document, "")
    severity = rating.severity(words_first=distribution) or _fallback_severity(
        identity, summary, affected, distribution
    )
    return AdvisoryRecord(
        id=identity,
        aliases=_aliases(identity, document, distribution=distribution),
        summary=summary or first_line(details),
        details=details,
        published=_time(document, "published"),
        modified=_required_time(document, "modified"),
        withdrawn=_time(document, "withdrawn"),
        severity=severity,
        cvss_score=rating.score,
        cvss_vectors=rating.vectors,
        references=_references(document),
        affected=affected,
    )


def _fallback_severity(
    identity: str,
    summary: str,
    affected: Iterable[AffectedPackage],
    distribution: bool,  # noqa: FBT001 -- no default; the one caller names what it passes
) -> Severity:
    """For a record that rates nothing itself: the worst of its entries, its title, or its kind."""
    worst = worst_severity(package.severity for package in affected if package.severity)
    if worst is not Severity.UNKNOWN:
        return worst
    if distribution and (title := _SUMMARY_RATING.match(summary)) and (rated := severity_from_words(title[1])):
        return rated
    # A malicious package has no CVSS vector: there is nothing to exploit, installing it is the damage.
    return Severity.CRITICAL if identity.startswith("MAL-") else Severity.UNKNOWN


def _aliases(identity: str, document: _Object, *, distribution: bool) -> tuple[str, ...]:
    names = _names(document, "aliases")
    if distribution or not any(map(is_cve, [identity, *names])):
        names += _names(document, "upstream")
    names += _embedded([identity, *names])
    if distribution and not any(map(is_cve, names)):
        # AlmaLinux and older exports of others list what a bulletin fixes as "related".
        names += [name for name in _names(document, "related") if is_cve(name)]
    return tuple(dict.fromkeys(name for name in names if name != identity))


def _embedded(names: Iterable[str]) -> list[str]:
    return [match[1] for name in names if (match := _PREFIXED_CVE.fullmatch(name))]


def _names(document: _Object, key: str) -> list[str]:
    """A name too long to be an id is left out: it could only join records, and none bears it."""
    names = [_name(name, key, most=MAX_URL) for name in _list(document, key, key, most=MAX_ALIASES)]
    return [name for name in names if len(name) <= MAX_ID]


def _ecosystem_of(entry: _Object) -> str:
    package = entry.get("package")
    ecosystem = package.get("ecosystem") if isinstance(package, Mapping) else None
    return ecosystem if isinstance(ecosystem, str) else ""


def _read_affected(entry: _Object, path: str) -> AffectedPackage | None:
    """None for an entry nothing can match: one about a repository's commits, or without ranges and versions."""
    ranges = tuple(
        found
        for index, item in enumerate(_objects(entry, "ranges", most=MAX_RANGES, path=path))
        if (found := _read_range(item, f"{path}.ranges.{index}")) is not None
    )
    versions = tuple(
        _name(version, f"{path}.versions", most=MAX_VERSION)
        for version in _list(entry, "versions", f"{path}.versions", most=MAX_VERSIONS)
    )
    package = entry.get("package")
    if package is None or not (ranges or versions):
        return None
    if not isinstance(package, Mapping):
        raise AdvisoryFormatError(f"{path}.package: expected an object")
    ecosystem = _name(package.get("ecosystem"), f"{path}.package.ecosystem", most=MAX_ECOSYSTEM)
    name = _name(package.get("name"), f"{path}.package.name", most=MAX_NAME)
    rating = _Rating.of(entry, path)
    return AffectedPackage(
        ecosystem=ecosystem,
        name=normalize_name(ecosystem, name),
        ranges=ranges,
        versions=versions,
        severity=rating.severity(words_first=is_distribution(ecosystem)),
        cvss_vectors=rating.vectors,
    )


def _read_range(item: _Object, path: str) -> VersionRange | None:
    kind = item.get("type")
    if kind == "GIT":
        return None
    if not isinstance(kind, str) or kind not in _RANGE_TYPES:
        raise AdvisoryFormatError(f"{path}.type: expected one of {', '.join((*_RANGE_TYPES, 'GIT'))}")
    events = tuple(
        (name, _name(event[name], f"{path}.events", most=MAX_VERSION))
        for event in _objects(item, "events", most=MAX_EVENTS, path=path)
        # One event has one of them; what puts two into one event means both, in this order.
        for name in _EVENT_KINDS
        if event.get(name) is not None
    )
    if not any(name == "introduced" for name, _ in events):
        raise AdvisoryFormatError(f"{path}.events: needs an `introduced` event")
    return VersionRange(type=kind, events=events)


@dataclass(frozen=True, slots=True)
class _Rating:
    """What a record or one of its entries says about how bad it is."""

    vectors: tuple[str, ...]
    score: float | None
    rated: Severity | None  # by the score
    words: Severity | None

    @classmethod
    def of(cls, holder: _Object, path: str) -> _Rating:
        stated = _objects(holder, "severity", most=MAX_VECTORS, path=path)
        texts = [(str(entry.get("type")), text) for entry in stated if isinstance(text := entry.get("score"), str)]
        specific = [value for key in ("ecosystem_specific", "database_specific") if (value := _object(holder, key))]
        vectors = [text for kind, text in texts if kind.startswith("CVSS_")]
        vectors += [vector for block in specific if isinstance(vector := block.get("cvss"), str)]
        words = [text for kind, text in texts if not kind.startswith("CVSS_")]
        words += [
            word for block in specific for key in ("severity", "urgency") if isinstance(word := block.get(key), str)
        ]
        known = tuple(dict.fromkeys(score.vector for vector in vectors if (score := score_vector(vector))))
        best = choose_score(known)
        number, rated = (best.score, best.severity) if best else _plain_score(vectors)
        return cls(known, number, rated, next((found for word in words if (found := severity_from_words(word))), None))

    def severity(self, *, words_first: bool) -> Severity | None:
        """A distribution's word is its own judgement of the flaw as it built the package, so it goes before the score.

        Elsewhere the words (GitHub's) are derived from the vector, and the vector goes first.
        """
        return (self.words or self.rated) if words_first else (self.rated or self.words)


def _plain_score(texts: Iterable[str]) -> tuple[float | None, Severity | None]:
    """Some feeds write the number where the vector belongs."""
    for text in texts:
        if re.fullmatch(r"[0-9]{1,2}(\.[0-9]+)?", text) and float(text) <= 10:  # noqa: PLR2004 -- the scale's end
            return float(text), severity_of_score(float(text))
    return None, None


def _references(document: _Object) -> tuple[str, ...]:
    """The addresses, http and https only: they become links."""
    found = [entry.get("url") for entry in _objects(document, "references", most=MAX_AFFECTED)]
    urls = [
        url.strip()
        for url in found
        if isinstance(url, str)
        and url.startswith(("https://", "http://"))
        and len(url) <= MAX_URL
        and "\x00" not in url
    ]
    return tuple(dict.fromkeys(urls))[:MAX_REFERENCES]


def first_line(details: str) -> str:
    """A title for a record that has none."""
    line = next((line.strip("# \t") for line in details.splitlines() if line.strip("# \t")), "")
    return line if len(line) <= _DERIVED_SUMMARY else f"{line[: _DERIVED_SUMMARY - 1].rstrip()}…"


def _prose(document: _Object, key: str, *, most: int) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AdvisoryFormatError(f"{key}: expected a text")
    return _CRLF_OR_NUL.sub("", value).strip()[:most]


def _name(value: object, path: str, *, most: int) -> str:
    if not isinstance(value, str) or not value or len(value) > most or "\x00" in value:
        raise AdvisoryFormatError(f"{path}: expected a text of 1-{most} characters")
    return value


def _object(holder: _Object, key: str) -> _Object:
    """A block whose content is the database's own; anything but an object says nothing to us."""
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(holder: _Object, key: str, path: str, *, most: int) -> list[object]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise AdvisoryFormatError(f"{path}: expected a list")
    if len(value) > most:
        raise AdvisoryFormatError(f"{path}: has {len(value)} entries, more than {most}")
    return value


def _objects(holder: _Object, key: str, *, most: int, path: str = "") -> list[_Object]:
    where = f"{path}.{key}" if path else key
    found: list[_Object] = []
    for index, item in enumerate(_list(holder, key, where, most=most)):
        if not isinstance(item, Mapping):
            raise AdvisoryFormatError(f"{where}.{index}: expected an object")
        found.append(item)
    return found


def _required_time(document: _Object, key: str) -> datetime:
    found = _time(document, key)
    if found is None:
        raise AdvisoryFormatError(f"{key}: Required")
    return found


def _time(document: _Object, key: str) -> datetime | None:
    value = document.get(key)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None:
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AdvisoryFormatError(f"{key}: expected a time as in RFC 3339")
