"""The feeds we know by name: where each is published, and in which form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from schema.advisories.ecosystems import ecosystem_base
from schema.kernel.errors import bad_request

LOCAL = "local"  # what an operator imports without naming a feed: it only ever grows
SAMPLE = "harborguard-sample"  # the demonstration's advisories
UNFOLLOWED = frozenset({LOCAL, SAMPLE})


def read_mirrors(text: str) -> dict[str, str]:
    """Reads `publisher=address, …`. ValueError for a publisher that is none, or an address without its places."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        publisher, _, address = part.partition("=")
        if publisher not in ADDRESSES:
            raise ValueError(f"{publisher!r} is none of {', '.join(ADDRESSES)}")
        missing = [
            place for place in ("{name}", "{repository}") if place in ADDRESSES[publisher] and place not in address
        ]
        if missing or not address.startswith(("https://", "http://")):
            raise ValueError(f"the address of {publisher} must be a URL like {ADDRESSES[publisher]}")
        found[publisher] = address
    return found


class FeedForm(StrEnum):
    """How a feed is written."""

    OSV = "osv"  # OSV records: JSON, YAML, or an archive of them
    DEBIAN = "debian"  # the security tracker's dump
    ALPINE = "alpine"  # secdb
    NVD = "nvd"  # NVD's data feeds 2.0
    KEV = "kev"  # CISA's catalogue of known exploited vulnerabilities
    EPSS = "epss"  # FIRST's scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """`addresses` are fetched in this order and read as one."""

    name: str
    form: FeedForm
    addresses: tuple[str, ...]
    release: str = ""  # of Alpine: "v3.20"

    @property
    def undated(self) -> bool:
        """Whether its records bear no dates of their own."""
        return self.form in {FeedForm.DEBIAN, FeedForm.ALPINE}

    @property
    def is_about_cves(self) -> bool:
        """Whether it tells something of CVEs whatever they are found in: its records are no advisories."""
        return self.name in ABOUT_CVES


# A publisher's addresses; {name} is what follows the colon in a feed's name. Operators put mirrors in their place.
ADDRESSES: Mapping[str, str] = {
    "osv": "https://osv-vulnerabilities.storage.googleapis.com/{name}/all.zip",
    "debian": "https://security-tracker.debian.org/tracker/data/json",
    "alpine": "https://secdb.alpinelinux.org/{name}/{repository}.json",
    # Both publish OSV records; OSV's archives of them can be fetched in parts and are never half-written.
    "ubuntu": "https://osv-vulnerabilities.storage.googleapis.com/Ubuntu/all.zip",
    "redhat": "https://osv-vulnerabilities.storage.googleapis.com/Red%20Hat/all.zip",
    "nvd": "https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-{name}.json.gz",
    "kev": "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
    "epss": "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
}
ABOUT_CVES: Mapping[str, FeedForm] = {"kev": FeedForm.KEV, "epss": FeedForm.EPSS}
_REPOSITORIES = ("main", "community")
_SAME = {"osv:Ubuntu": "ubuntu", "osv:Red Hat": "redhat"}  # two names of one feed would be stored twice
_ECOSYSTEM = re.compile(r"[A-Za-z][A-Za-z0-9 .-]{0,60}")
_YEAR = re.compile(r"20[0-9]{2}")
_RELEASE = re.compile(r"v?([0-9]{1,3}\.[0-9]{1,3}|edge)")

# Whose own statement a feed is: what Debian's tracker says of Debian goes before what others made of it.
_FIRST_HAND = {"debian": "Debian", "alpine": "Alpine"}


def find_feed(name: str, mirrors: Mapping[str, str] | None = None) -> Feed:
    """The feed of a name: `osv:PyPI`, `debian`, `alpine:v3.20`, `ubuntu`, `redhat`, `nvd:2026`, `kev`, `epss`.

    `mirrors` replace ADDRESSES.
    Raises HarborGuardError for a name that is none.
    """
    publisher, _, rest = _SAME.get(name, name).partition(":")
    address = {**ADDRESSES, **(mirrors or {})}.get(publisher, "")
    if publisher == "osv" and _ECOSYSTEM.fullmatch(rest):
        return Feed(name=f"osv:{rest}", form=FeedForm.OSV, addresses=(address.replace("{name}", quote(rest)),))
    if publisher == "alpine" and (match := _RELEASE.fullmatch(rest)):
        release = match[1] if match[1] == "edge" else f"v{match[1]}"
        addresses = tuple(
            address.replace("{name}", release).replace("{repository}", repository) for repository in _REPOSITORIES
        )
        return Feed(name=f"alpine:{release}", form=FeedForm.ALPINE, addresses=addresses, release=release)
    if publisher in ("ubuntu", "redhat") and not rest:
        return Feed(name=publisher, form=FeedForm.OSV, addresses=(address,))
    if publisher == "debian" and not rest:
        return Feed(name=publisher, form=FeedForm.DEBIAN, addresses=(address,))
    if publisher == "nvd" and _YEAR.fullmatch(rest):
        return Feed(name=f"nvd:{rest}", form=FeedForm.NVD, addresses=(address.replace("{name}", rest),))
    if publisher in ABOUT_CVES and not rest:
        return Feed(name=publisher, form=ABOUT_CVES[publisher], addresses=(address,))
    raise bad_request(
        f"{name!r} is no feed. Feeds are osv:ECOSYSTEM (osv:PyPI), debian, alpine:RELEASE (alpine:v3.20), ubuntu, redhat, "
        "nvd:YEAR (nvd:2026), kev, epss"
    )


def is_first_hand(feed: str, ecosystem: str) -> bool:
    """Whether the feed is the distribution's own word on its packages."""
    return _FIRST_HAND.get(feed.partition(":")[0]) == ecosystem_base(ecosystem)
