from __future__ import annotations

from itertools import product

import pytest

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank
from schema.watch.models import WatchSource
from schema.watch.rules import Known, Wish, changes_of

EVERYBODY = frozenset(WatchSource)
STATES = [
    Known(severity_key=severity_rank(severity), kev=kev, has_fix=fix)
    for severity, kev, fix in product((Severity.LOW, Severity.HIGH), (False, True), (False, True))
]


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("now", STATES)
def test_only_what_rises_is_told(before: Known, now: Known) -> None:
    told = set(changes_of(before, now))
    assert ("kev_added" in told) == (now.kev and not before.kev)
    assert ("fix_appeared" in told) == (now.has_fix and not before.has_fix)
    assert ("severity_rose" in told) == (now.severity_key > before.severity_key)


@pytest.mark.parametrize(
    ("severity", "kev", "wanted"),
    [
        (Severity.HIGH, False, True),
        (Severity.MEDIUM, False, True),
        (Severity.LOW, False, False),
        (Severity.UNKNOWN, False, False),
        (Severity.UNKNOWN, True, True),
    ],
)
def test_what_is_exploited_is_told_whatever_its_severity(severity: Severity, kev: bool, wanted: bool) -> None:  # noqa: FBT001
    wish = Wish(min_severity=Severity.MEDIUM, sources=EVERYBODY)
    assert wish.wants(Known(severity_key=severity_rank(severity), kev=kev, has_fix=False)) is wanted


@pytest.mark.parametrize(
    ("sources", "kev", "ids", "by_nvd", "source"),
    [
        (EVERYBODY, True, ["GHSA-1"], False, WatchSource.CISA_KEV),
        (EVERYBODY, False, ["DSA-1", "GHSA-1"], False, WatchSource.GHSA),
        (EVERYBODY, False, ["DSA-1"], False, WatchSource.OSV),
        ({WatchSource.OSV}, False, ["DSA-1", "GHSA-1"], False, WatchSource.OSV),
        ({WatchSource.GHSA}, False, ["DSA-1"], False, None),
        ({WatchSource.NVD}, False, ["DSA-1", "GHSA-1"], False, None),
        ({WatchSource.NVD}, False, ["DSA-1", "GHSA-1"], True, WatchSource.NVD),
        ({WatchSource.GHSA}, False, ["DSA-1"], True, None),
        (EVERYBODY, False, ["DSA-1"], True, WatchSource.OSV),
    ],
)
def test_nobody_is_named_who_has_not_told_it(
    sources: frozenset[WatchSource],
    kev: bool,  # noqa: FBT001
    ids: list[str],
    by_nvd: bool,  # noqa: FBT001
    source: WatchSource | None,
) -> None:
    wish = Wish(min_severity=Severity.LOW, sources=sources)
    assert wish.source_of(Known(severity_key=3, kev=kev, has_fix=False), ids, by_nvd=by_nvd) is source
