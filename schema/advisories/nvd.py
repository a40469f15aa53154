"""NVD's data feeds to advisory records (nvd.nist.gov/vuln/data-feeds, the JSON of its CVE API 2.0, a file a year).

NVD rates flaws and describes them. Which packages have them it says by CPE, which nobody can map to packages without
guessing: a record here is about no package, and lends its vectors to records that rate nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from schema.advisories.feeds import UnreadableDocument
from schema.advisories.osv import AdvisoryFormatError, is_cve, parse_osv
from schema.advisories.records import AdvisoryRecord

ITEMS = "vulnerabilities"
Outcome: TypeAlias = AdvisoryRecord | AdvisoryFormatError

# By the names OSV has for them; of each the newest version that is there.
_METRICS = {"CVSS_V4": ("cvssMetricV40",), "CVSS_V3": ("cvssMetricV31", "cvssMetricV30"), "CVSS_V2": ("cvssMetricV2",)}


def parse_nvd(members: Iterable[tuple[str, object]]) -> Iterator[tuple[str, Outcome]]:
    """(name, record or what is wrong) for the members of a feed, its items one by one.

    Raises AdvisoryFormatError when the feed as a whole is none, or has not as many items as it says: a page of the API must
    not pass for a year.
    """
    said: dict[str, object] = {}
    count = 0
    for key, value in members:
        if key != ITEMS:
            said[key] = value
            continue
        count += 1
        yield _read_item(count, value)
    if (said.get("format"), said.get("version")) != ("NVD_CVE", "2.0"):
        raise AdvisoryFormatError("not a feed of NVD: expected format NVD_CVE and version 2.0")
    if said.get("totalResults") != count:
        raise AdvisoryFormatError(f"it says that it has {said.get('totalResults')} records and has {count}")


def _read_item(number: int, item: object) -> tuple[str, Outcome]:
    cve = item.get("cve") if isinstance(item, Mapping) else None
    identity = cve.get("id") if isinstance(cve, Mapping) else None
    if not isinstance(cve, Mapping) or not isinstance(identity, str) or not is_cve(identity):
        reason = item.reason if isinstance(item, UnreadableDocument) else "expected `cve` with the id of one"
        return f"{ITEMS}[{number}]", AdvisoryFormatError(reason)
    try:
        return identity, parse_osv(_as_osv(identity, cve))
    except AdvisoryFormatError as error:
        return identity, error


def _as_osv(identity: str, cve: Mapping[str, Any]) -> dict[str, object]:
    """The same as an OSV document, so that one place reads and bounds them."""
    descriptions = [each.get("value") for each in _objects(cve, "descriptions") if each.get("lang") == "en"]
    return {
        "id": identity,
        "published": cve.get("published"),
        "modified": cve.get("lastModified"),
        "withdrawn": cve.get("lastModified") if cve.get("vulnStatus") == "Rejected" else None,
        "details": next(iter(descriptions), ""),
        "severity": [*_vectors(cve.get("metrics"))],
        "references": [{"type": "WEB", "url": each.get("url")} for each in _objects(cve, "references")],
    }


def _vectors(metrics: object) -> Iterator[dict[str, object]]:
    """NVD's own where it has rated the flaw, else those of whoever reported it."""
    if not isinstance(metrics, Mapping):
        return
    for kind, names in _METRICS.items():
        rated = next((found for name in names if (found := _objects(metrics, name))), [])
        own = [each for each in rated if each.get("type") == "Primary"]
        for each in own or rated:
            data = each.get("cvssData")
            if isinstance(data, Mapping):
                yield {"type": kind, "score": data.get("vectorString")}


def _objects(holder: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = holder.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
