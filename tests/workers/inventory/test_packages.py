from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import DEBIAN, file
from workers.inventory.notes import Notes
from workers.inventory.packages import distribution_package

printable_ascii = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def make(
    name: str, version: str, *, path: str = "db", architecture: str | None = "amd64", licenses: tuple[str, ...] = ()
) -> PackageRecord | None:
    database = file(path, "")
    return distribution_package(
        PackageType.DEB,
        name,
        version,
        vendor="debian",
        system=DEBIAN,
        source=None,
        architecture=architecture,
        licenses=licenses,
        database=database,
        layer=database,
        notes=Notes(),
    )


@settings(deadline=None)
@given(printable_ascii, printable_ascii)
def test_the_package_url_says_what_the_record_says(name: str, version: str) -> None:
    package = make(name, version)
    if package is None:
        assert "/" in name
        return
    url = PackageURL.from_string(package.purl)
    assert (url.type, url.namespace, url.version) == ("deb", "debian", version)
    assert url.name == name
    assert url.qualifiers == {"arch": "amd64", "distro": "debian-12"}


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_every_record_can_be_stored(name: str, version: str, architecture: str) -> None:
    package = make(name, version, architecture=architecture)
    if package is not None:
        assert all(text.isascii() and text.isprintable() for text in (package.name, package.version, package.purl))
        assert package.architecture is None or len(package.architecture) <= 40


def test_what_does_not_fit_its_column_is_no_package() -> None:
    assert make("a" * 300, "1") is not None
    assert make("a" * 301, "1") is None
    assert make("%" * 300, "%" * 300) is None  # too long once encoded
    assert make("a", "1", path="x" * 4096) is not None
    assert make("a", "1", path="x" * 4097) is None


def test_licences_are_names_each_once_and_not_without_end() -> None:
    package = make("a", "1", licenses=("MIT", "", "MIT", "x" * 201, "a\nb", *(f"L-{number}" for number in range(50))))
    assert package is not None
    assert package.licenses == ("MIT", *(f"L-{number}" for number in range(19)))
