"""What feeds tell of CVEs beyond any advisory, read from their files: CISA's catalogue of known exploited vulnerabilities and
FIRST's EPSS. No I/O but the files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from schema.advisories.catalog import FeedForm
from schema.advisories.feeds import read_unpacked
from schema.kernel.errors import bad_request

MAX_BYTES = 512 << 20  # of a file, unpacked
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_COMMENT = re.compile(r"#model_version:(?P<model>[^,]{1,50}),score_date:(?P<date>[0-9T:+Z.-]{10,40})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """All of a feed: the columns of `cves` it tells, and their values by CVE. `rejected` entries could not be read."""

    released: datetime
    columns: Sequence[str]
    values: Mapping[str, tuple[Any, ...]]
    rejected: int = 0


KEV_COLUMNS = ("kev", "kev_added_at", "kev_due_at", "ransomware")
EPSS_COLUMNS = ("epss", "epss_percentile")
# What a CVE has of which a feed says nothing.
NOTHING: Mapping[str, Any] = {
    "kev": False,
    "kev_added_at": None,
    "kev_due_at": None,
    "ransomware": False,
    "epss": None,
    "epss_percentile": None,
}


def read_knowledge(form: FeedForm, path: Path) -> Knowledge:
    """Raises HarborGuardError when the feed as a whole cannot be read or contradicts itself."""
    content = read_unpacked(path, most=MAX_BYTES)
    try:
        return read_kev(content) if form is FeedForm.KEV else read_epss(content)
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise bad_request(f"{path.name} is no {form.value.upper()} feed: {_reason(error)}") from None


def read_kev(content: bytes) -> Knowledge:
    """CISA's JSON. It tells how many entries it has, so one that was cut off is known."""
    document = orjson.loads(content)
    entries = document["vulnerabilities"]
    if document["count"] != len(entries):
        raise ValueError(f"it says that it has {document['count']} entries and has {len(entries)}")
    values: dict[str, tuple[Any, ...]] = {}
    rejected = 0
    for entry in entries:
        try:
            added, due = _day(entry["dateAdded"]), _day(entry["dueDate"]) if entry.get("dueDate") else None
            ransomware = entry.get("knownRansomwareCampaignUse") == "Known"
            values[_cve(entry["cveID"])] = (True, added, due, ransomware)
        except (ValueError, KeyError, TypeError):
            rejected += 1
    return Knowledge(released=_time(document["dateReleased"]), columns=KEV_COLUMNS, values=values, rejected=rejected)


def read_epss(content: bytes) -> Knowledge:
    """FIRST's CSV: a line of comment with the date of the scores, a header, and a line for each CVE."""
    lines = io.StringIO(content.decode())
    said = _COMMENT.fullmatch(lines.readline())
    if said is None:
        raise ValueError("its first line does not tell the model and the date of the scores")
    reader = csv.reader(lines)
    if next(reader, None) != ["cve", "epss", "percentile"]:
        raise ValueError("its columns are not cve, epss and percentile")
    values, rejected = _scores(reader)
    return Knowledge(released=_time(said["date"]), columns=EPSS_COLUMNS, values=values, rejected=rejected)


def _scores(lines: Iterable[Sequence[str]]) -> tuple[dict[str, tuple[Any, ...]], int]:
    values: dict[str, tuple[Any, ...]] = {}
    rejected = 0
    for line in lines:
        try:
            name, epss, percentile = line
            values[_cve(name)] = (_probability(epss), _probability(percentile))
        except ValueError:
            rejected += 1
    return values, rejected


def _cve(text: str) -> str:
    if not _CVE.fullmatch(text):
        raise ValueError("no id of a CVE")
    return text


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("not between 0 and 1")
    return value


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _time(text: str) -> datetime:
    """UTC where nothing else is said."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _reason(error: BaseException) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
