"""CISA's catalogue and FIRST's scores, read from what they publish and from what is broken."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.advisories.catalog import FeedForm
from schema.cves.knowledge import Knowledge, read_epss, read_kev, read_knowledge
from schema.kernel.errors import ErrorCode, HarborGuardError

ENTRY = {
    "cveID": "CVE-2021-44228",
    "vendorProject": "Apache",
    "dateAdded": "2021-12-10",
    "dueDate": "2021-12-24",
    "knownRansomwareCampaignUse": "Known",
}
SCORES = "#model_version:v2025.03.14,score_date:2026-05-01T12:55:00Z\ncve,epss,percentile\n"


def kev(*entries: Any, **other: Any) -> bytes:
    document = {"catalogVersion": "2026.05.01", "dateReleased": "2026-05-01T14:00:03.1234Z", "count": len(entries)}
    return json.dumps(document | {"vulnerabilities": list(entries)} | other).encode()


def test_the_catalogue_is_read() -> None:
    found = read_kev(kev(ENTRY, {"cveID": "CVE-2024-1234", "dateAdded": "2024-02-30"}, {"dateAdded": "2024-02-03"}))

    added, due = datetime(2021, 12, 10, tzinfo=UTC), datetime(2021, 12, 24, tzinfo=UTC)
    assert found.values == {"CVE-2021-44228": (True, added, due, True)}
    assert (found.rejected, found.released) == (2, datetime(2026, 5, 1, 14, 0, 3, 123400, tzinfo=UTC))


@pytest.mark.parametrize(
    ("line", "values", "rejected"),
    [
        ("CVE-2024-0001,0.00042,0.05", {"CVE-2024-0001": (0.00042, 0.05)}, 0),
        ("CVE-2024-0001,1.5,0.05", {}, 1),
        ("CVE-2024-0001,nan,0.05", {}, 1),
        ("CVE-2024-0001,0.1", {}, 1),
        ("cve-2024-0001,0.1,0.1", {}, 1),
        ("", {}, 1),
    ],
)
def test_scores_are_read_line_by_line(line: str, values: dict[str, Any], rejected: int) -> None:
    found = read_epss(f"{SCORES}{line}\n".encode())

    assert (found.values, found.rejected, found.released) == (
        values,
        rejected,
        datetime(2026, 5, 1, 12, 55, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("form", "content", "reason"),
    [
        (FeedForm.KEV, kev(ENTRY, count=2), "says that it has 2 entries and has 1"),
        (FeedForm.KEV, kev(ENTRY)[:-40], "no KEV feed"),
        (FeedForm.KEV, b"[]", "no KEV feed"),
        (FeedForm.KEV, b"{}", "is missing"),
        (FeedForm.EPSS, b"cve,epss,percentile\n", "first line"),
        (FeedForm.EPSS, SCORES.replace("epss", "score").encode(), "columns"),
        (FeedForm.EPSS, b"", "first line"),
        (FeedForm.EPSS, b"\xff\xfe", "no EPSS feed"),
        (FeedForm.EPSS, gzip.compress(SCORES.encode(), mtime=0)[:-9], "cannot be read"),
        (FeedForm.EPSS, b"\x1f\x8bno gzip", "cannot be read"),
    ],
)
def test_what_is_no_feed_is_refused_as_a_whole(form: FeedForm, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(content)
    with pytest.raises(HarborGuardError, match=reason):
        read_knowledge(form, path)


def _outcome(form: FeedForm, path: Path) -> Knowledge | ErrorCode:
    try:
        return read_knowledge(form, path)
    except HarborGuardError as error:
        return error.code


@given(st.binary(max_size=200), st.sampled_from((FeedForm.KEV, FeedForm.EPSS)))
def test_whatever_the_bytes_it_is_read_or_refused(tmp_path_factory: Any, content: bytes, form: FeedForm) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    outcome = _outcome(form, path)
    assert isinstance(outcome, Knowledge) or outcome is ErrorCode.BAD_REQUEST
