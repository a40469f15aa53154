"""Debian's security tracker to advisory records (security-team.debian.org, "Security Tracker", its JSON dump).

The dump is `{source package: {flaw: {description, releases: {codename: {status, fixed_version, urgency, nodsa, …}}}}}`.
A record here is about one flaw in all packages and releases, under the id OSV gives the same record.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from schema.advisories.osv import (
    MAX_AFFECTED,
    MAX_DETAILS,
    MAX_NAME,
    MAX_VERSION,
    AdvisoryFormatError,
    first_line,
    is_cve,
)
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_from_words

# Releases the tracker speaks of by codename (distro-info-data). What is not here, such as `sid`, is not judged: an
# image of it does not state a release either.
_RELEASES = {
    "jessie": "8",
    "stretch": "9",
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
}
_FLAW = re.compile(r"(?:CVE-[0-9]{4}-[0-9]{4,}|TEMP-[0-9]{7}-[0-9A-F]{6})")
_STATUSES = ("resolved", "open", "undetermined")
_NEVER_AFFECTED = "0"  # as a fixed version
MAX_NOTE = 300

Outcome: TypeAlias = AdvisoryRecord | AdvisoryFormatError


@dataclass(slots=True)
class _Flaw:
    """What was read of one flaw so far."""

    description: str = ""
    affected: list[AffectedPackage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse_tracker(members: Iterable[tuple[str, object]], *, as_of: datetime) -> Iterator[tuple[str, Outcome]]:
    """(name, record or what is wrong) for the members of the dump. It bears no dates, so `as_of` is every record's.

    First come the entries that cannot be read, because a record is whole only at the end of the dump.
    """
    flaws: dict[str, _Flaw] = defaultdict(_Flaw)
    for package, entries in members:
        if not isinstance(entries, Mapping) or not package or len(package) > MAX_NAME or "\x00" in package:
            yield package[:MAX_NAME], AdvisoryFormatError("expected a package with an object of its flaws")
            continue
        for identity, entry in entries.items():
            try:
                _read_entry(package, identity, entry, flaws)
            except AdvisoryFormatError as error:
                yield f"{package}/{identity[:60]}", error
    while flaws:
        identity, flaw = flaws.popitem()
        yield identity, _record(identity, flaw, as_of)


def _read_entry(package: str, identity: str, entry: object, flaws: dict[str, _Flaw]) -> None:
    if not _FLAW.fullmatch(identity):
        raise AdvisoryFormatError("expected the id of a flaw: CVE-… or TEMP-…")
    if not isinstance(entry, Mapping) or not isinstance(releases := entry.get("releases"), Mapping):
        raise AdvisoryFormatError("releases: expected an object")
    states = [(codename, _read_state(codename, state)) for codename, state in releases.items() if codename in _RELEASES]
    flaw = flaws[identity]
    if len(flaw.affected) + len(states) > MAX_AFFECTED:
        raise AdvisoryFormatError(f"is about more than {MAX_AFFECTED} packages and releases")
    description = entry.get("description")
    flaw.description = flaw.description or (description if isinstance(description, str) else "")
    for codename, (fixed, severity, note) in states:
        flaw.affected.append(
            AffectedPackage(
                ecosystem=f"Debian:{_RELEASES[codename]}",
                name=package,
                ranges=_ranges(fixed),
                versions=(),
                severity=severity,
                cvss_vectors=(),
            )
        )
        if note:
            flaw.notes.append(f"{package} in {codename}: {note}")


def _ranges(fixed: str | None) -> tuple[VersionRange, ...]:
    """None at all for a release that never had the flaw: not even `0~20200101`, which is below 0, is in no range."""
    if fixed == _NEVER_AFFECTED:
        return ()
    events = (("introduced", "0"),) if fixed is None else (("introduced", "0"), ("fixed", fixed))
    return (VersionRange(type="ECOSYSTEM", events=events),)


def _read_state(codename: str, state: object) -> tuple[str | None, Severity | None, str]:
    """(fixed version, rating, note). A flaw the tracker has not decided on counts as there: silence would read as safe."""
    status = state.get("status") if isinstance(state, Mapping) else None
    if not isinstance(state, Mapping) or status not in _STATUSES:
        raise AdvisoryFormatError(f"releases.{codename}.status: expected one of {', '.join(_STATUSES)}")
    fixed = state.get("fixed_version") if status == "resolved" else None
    if status == "resolved" and not (
        isinstance(fixed, str) and 0 < len(fixed) <= MAX_VERSION and "\x00" not in fixed and fixed.isprintable()
    ):
        raise AdvisoryFormatError(f"releases.{codename}.fixed_version: expected a version")
    urgency = state.get("urgency")
    rating = severity_from_words(urgency) if isinstance(urgency, str) else None
    if fixed is not None or not isinstance(minor := state.get("nodsa"), str):
        undecided = "not yet determined whether it is affected" if status == "undetermined" else ""
        return fixed if isinstance(fixed, str) else None, rating, undecided
    # The security team found it not worth an advisory of its own: less than any rating of the flaw in general.
    reason = state.get("nodsa_reason")
    stated = f"no DSA ({reason}): {minor}" if isinstance(reason, str) and reason else f"no DSA: {minor}"
    return None, rating or Severity.LOW, stated.replace("\x00", "")[:MAX_NOTE]


def _record(identity: str, flaw: _Flaw, as_of: datetime) -> AdvisoryRecord:
    description = flaw.description.replace("\x00", "").strip()
    return AdvisoryRecord(
        id=f"DEBIAN-{identity}",
        aliases=(identity,) if is_cve(identity) else (),
        summary=first_line(description),
        details="\n".join([description, *flaw.notes]).strip()[:MAX_DETAILS],
        published=None,
        modified=as_of,
        withdrawn=None,
        severity=Severity.UNKNOWN,  # each release is rated for itself
        cvss_score=None,
        cvss_vectors=(),
        references=(f"https://security-tracker.debian.org/tracker/{identity}",),
        affected=tuple(flaw.affected),
    )
