"""Ids of flaws: who publishes them, and where they can be read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Publisher:
    """`kind` is a word for programs ("cve"), `address` begins the page of an id."""

    prefix: str
    kind: str
    name: str
    address: str


# OSV shows every other id: it is where those advisories are published together.
_OSV = Publisher("", "osv", "OSV", "https://osv.dev/vulnerability/")
_PUBLISHERS = (
    Publisher("CVE-", "cve", "NVD", "https://nvd.nist.gov/vuln/detail/"),
    Publisher("GHSA-", "ghsa", "GitHub Advisory Database", "https://github.com/advisories/"),
    Publisher("RHSA-", "rhsa", "Red Hat", "https://access.redhat.com/errata/"),
    Publisher("USN-", "usn", "Ubuntu", "https://ubuntu.com/security/notices/"),
)


def publisher_of(flaw: str) -> Publisher:
    return next((each for each in _PUBLISHERS if flaw.startswith(each.prefix)), _OSV)


def page_of(flaw: str) -> str:
    """The address of the page about a flaw; whatever its id holds, it stays within that page."""
    return publisher_of(flaw).address + quote(flaw, safe="")
