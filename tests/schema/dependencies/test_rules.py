"""Orders of versions, package URLs without one, and CSV."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.dependencies.rules import in_order, is_within, without_version
from schema.documents.csv import csv_lines


@pytest.mark.parametrize(
    ("kind", "versions", "ordered"),
    [
        ("maven", ["2.9", "2.17.0", "2.16.1"], ["2.17.0", "2.16.1", "2.9"]),
        ("deb", ["1:1.0", "2.0~rc1", "2.0"], ["1:1.0", "2.0", "2.0~rc1"]),
        ("pip", ["1.0", "1.0rc1", "1.0.post1"], ["1.0.post1", "1.0", "1.0rc1"]),
    ],
)
def test_versions_are_ordered_as_their_own_tool_does(kind: str, versions: list[str], ordered: list[str]) -> None:
    assert in_order(kind, versions) == ordered


@pytest.mark.parametrize(
    ("kind", "version", "from_", "below", "within"),
    [
        ("maven", "2.9.1", None, "2.17", True),
        ("maven", "2.17.0", None, "2.17", False),
        ("maven", "2.9.1", "2.10", "2.17", False),
        ("maven", "2.10", "2.10", "2.17", True),
        ("deb", "1:0.5", None, "2.0", False),
        ("go", "(devel)", None, "v1.2.0", True),  # nobody knows
        ("generic", "1", "5", None, True),
        ("npm", "4.17.20", None, None, True),
    ],
)
def test_a_version_is_within(kind: str, version: str, from_: str | None, below: str | None, within: bool) -> None:  # noqa: FBT001
    assert is_within(kind, version, from_=from_, below=below) is within


@pytest.mark.parametrize(
    ("purl", "name"),
    [
        ("pkg:deb/debian/openssl@3.0.1?arch=amd64&distro=debian-12", "pkg:deb/debian/openssl"),
        ("pkg:npm/%40angular/core@16.0.0#dist", "pkg:npm/%40angular/core"),
        ("pkg:golang/example.org/module", "pkg:golang/example.org/module"),
    ],
)
def test_a_purl_without_its_version(purl: str, name: str) -> None:
    assert without_version(purl) == name


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1)))
def test_csv_says_what_was_put_in_and_nothing_that_is_run(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline="")))

    for row, told in zip(rows, [each for each in read if each] if [] not in read else read, strict=True):
        assert [
            cell.removeprefix("'") if not own.startswith("'") else cell for cell, own in zip(told, row, strict=True)
        ] == row
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in told)
