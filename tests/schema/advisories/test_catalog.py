"""Names of feeds, where they lead, and mirrors."""

from __future__ import annotations

import pytest

from schema.advisories.catalog import FeedForm, find_feed, is_first_hand, read_mirrors
from schema.kernel.errors import HarborGuardError

OSV = "https://osv-vulnerabilities.storage.googleapis.com"


@pytest.mark.parametrize(
    ("name", "known_as", "form", "addresses"),
    [
        ("osv:PyPI", "osv:PyPI", FeedForm.OSV, (f"{OSV}/PyPI/all.zip",)),
        ("osv:Rocky Linux", "osv:Rocky Linux", FeedForm.OSV, (f"{OSV}/Rocky%20Linux/all.zip",)),
        ("ubuntu", "ubuntu", FeedForm.OSV, (f"{OSV}/Ubuntu/all.zip",)),
        ("osv:Ubuntu", "ubuntu", FeedForm.OSV, (f"{OSV}/Ubuntu/all.zip",)),
        ("redhat", "redhat", FeedForm.OSV, (f"{OSV}/Red%20Hat/all.zip",)),
        ("debian", "debian", FeedForm.DEBIAN, ("https://security-tracker.debian.org/tracker/data/json",)),
        (
            "nvd:2026",
            "nvd:2026",
            FeedForm.NVD,
            ("https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2026.json.gz",),
        ),
        (
            "alpine:3.20",
            "alpine:v3.20",
            FeedForm.ALPINE,
            ("https://secdb.alpinelinux.org/v3.20/main.json", "https://secdb.alpinelinux.org/v3.20/community.json"),
        ),
    ],
)
def test_a_name_leads_to_its_addresses(name: str, known_as: str, form: FeedForm, addresses: tuple[str, ...]) -> None:
    feed = find_feed(name)
    assert (feed.name, feed.form, feed.addresses) == (known_as, form, addresses)


@pytest.mark.parametrize(
    "name", ["", "osv", "osv:", "osv:../x", "alpine", "alpine:x", "debian:12", "nvd", "nvd:26", "local", "ubuntu:22.04"]
)
def test_what_is_no_feed(name: str) -> None:
    with pytest.raises(HarborGuardError, match="is no feed"):
        find_feed(name)


def test_a_mirror_stands_in_for_a_publisher() -> None:
    mirrors = read_mirrors("osv=https://mirror.test/{name}.zip, debian=http://10.0.0.1:8000/tracker.json")
    assert find_feed("osv:npm", mirrors).addresses == ("https://mirror.test/npm.zip",)
    assert find_feed("debian", mirrors).addresses == ("http://10.0.0.1:8000/tracker.json",)
    assert read_mirrors("") == {}


@pytest.mark.parametrize("text", ["nobody=https://a", "osv=https://a/all.zip", "osv=ftp://a/{name}", "debian"])
def test_a_mirror_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a URL|none of"):
        read_mirrors(text)


def test_first_hand_is_the_distributions_own_word() -> None:
    assert is_first_hand("debian", "Debian:12")
    assert is_first_hand("alpine:v3.20", "Alpine:v3.20")
    assert not is_first_hand("osv:Debian", "Debian:12")
    assert not is_first_hand("debian", "PyPI")
    assert not is_first_hand("", "Debian:12")
