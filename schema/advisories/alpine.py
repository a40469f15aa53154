"""Alpine's secdb to advisory records (secdb.alpinelinux.org).

A document is one repository of one release: `{distroversion, reponame, packages: [{pkg: {name, secfixes}}]}`, where
`secfixes` is `{fixed version: [flaws]}` and the version `0` says that no version was affected. A flaw is written with its
other names beside it ("CVE-2018-19961 XSA-275"), or with a remark ("CVE-2017-2616 (+ regression fix)").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

from schema.advisories.osv import MAX_AFFECTED, MAX_ID, MAX_NAME, MAX_RANGES, MAX_VERSION, AdvisoryFormatError, is_cve
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.vulnerabilities.records import Severity

_IDENTITY = re.compile(r"[A-Z][A-Za-z]{1,15}-[0-9A-Za-z][0-9A-Za-z-]*")
_PREFIX = "ALPINE-"
_NEVER_AFFECTED = "0"  # as a fixed version
_LONGEST = MAX_ID - len(_PREFIX)
MAX_IDENTITIES = 50  # in one line

Outcome: TypeAlias = AdvisoryRecord | AdvisoryFormatError
_Fixes: TypeAlias = dict[str, list[str]]  # package: its fixed versions


def parse_secdb(
    documents: Iterable[tuple[str, object]], *, release: str, as_of: datetime
) -> Iterator[tuple[str, Outcome]]:
    """(name, record or what is wrong) for the documents of one release ("v3.20"). They bear no dates: `as_of` is theirs.

    First come the entries that cannot be read, because a record is whole only at the end of the last document. Raises
    AdvisoryFormatError for a document that is none, or of another release: the rest would pass for all there is.
    """
    flaws: dict[str, _Fixes] = defaultdict(dict)
    aliases: dict[str, set[str]] = defaultdict(set)
    for where, document in documents:
        if not isinstance(document, Mapping) or not isinstance(packages := document.get("packages"), list):
            raise AdvisoryFormatError(f"{where} is not a secdb document: expected an object with `packages`")
        if document.get("distroversion") not in (release, release.removeprefix("v")):
            raise AdvisoryFormatError(f"{where} is not of Alpine {release}")
        for index, entry in enumerate(packages):
            try:
                _read_package(entry, flaws, aliases)
            except AdvisoryFormatError as error:
                yield f"{where}:packages.{index}", error
    while flaws:
        identity, fixes = flaws.popitem()
        yield identity, _record(identity, fixes, aliases.get(identity, set()), release, as_of)


def _read_package(entry: object, flaws: dict[str, _Fixes], aliases: dict[str, set[str]]) -> None:
    package = entry.get("pkg") if isinstance(entry, Mapping) else None
    name = package.get("name") if isinstance(package, Mapping) else None
    fixes = package.get("secfixes") if isinstance(package, Mapping) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or "\x00" in name:
        raise AdvisoryFormatError(f"pkg.name: expected a text of 1-{MAX_NAME} characters")
    if not isinstance(fixes, Mapping):
        raise AdvisoryFormatError("pkg.secfixes: expected an object")
    read = [
        (version, names)
        for version, lines in fixes.items()
        for line in _lines(version, lines)
        for names in _flaws(line)
    ]
    for version, (identity, *others) in read:
        versions = flaws[identity].setdefault(name, [])
        if len(versions) >= MAX_RANGES or len(flaws[identity]) > MAX_AFFECTED:
            raise AdvisoryFormatError(f"{identity} has too many fixes")
        if version not in versions:
            versions.append(version)
        aliases[identity].update(others)


def _lines(version: str, lines: object) -> list[str]:
    if not 0 < len(version) <= MAX_VERSION or not version.isprintable():
        raise AdvisoryFormatError(f"pkg.secfixes: expected versions of 1-{MAX_VERSION} characters")
    if lines is None:
        return []  # a version somebody listed without a flaw
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise AdvisoryFormatError(f"pkg.secfixes.{version}: expected a list of texts")
    return lines


def _flaws(line: str) -> list[tuple[str, ...]]:
    """Each flaw a line names, first its id, then other names. Beside several CVEs, other names belong to none of them."""
    found = [word for word in line.split()[:MAX_IDENTITIES] if len(word) <= _LONGEST and _IDENTITY.fullmatch(word)]
    names = tuple(dict.fromkeys(found))
    cves = [name for name in names if is_cve(name)]
    if len(cves) == 1:
        return [(cves[0], *(name for name in names if name != cves[0]))]
    return [(cve,) for cve in cves] or [names[:1]] * bool(names)


def _record(identity: str, fixes: _Fixes, aliases: set[str], release: str, as_of: datetime) -> AdvisoryRecord:
    own = identity if identity.startswith(_PREFIX) else f"{_PREFIX}{identity}"
    return AdvisoryRecord(
        id=own,
        aliases=tuple(sorted({identity, *aliases} - {own})),
        summary="",
        details="",
        published=None,
        modified=as_of,
        withdrawn=None,
        severity=Severity.UNKNOWN,  # Alpine rates nothing
        cvss_score=None,
        cvss_vectors=(),
        references=(f"https://security.alpinelinux.org/vuln/{identity}",),
        affected=tuple(
            AffectedPackage(
                ecosystem=f"Alpine:{release}",
                name=name,
                # Whatever is below any of the fixes has the flaw, or what the first fix left of it.
                ranges=tuple(
                    VersionRange(type="ECOSYSTEM", events=(("introduced", "0"), ("fixed", version)))
                    for version in versions
                    if version != _NEVER_AFFECTED
                ),
                versions=(),
                severity=None,
                cvss_vectors=(),
            )
            for name, versions in sorted(fixes.items())
        ),
    )
