from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.inventory.files import file
from workers.inventory.notes import Notes
from workers.inventory.stanzas import read_database, read_head, read_stanzas

FIELDS = {b"package": "name", b"version": "version", b"classifier": "classifiers"}


def read(text: str | bytes) -> list[dict[str, str]]:
    return list(read_stanzas(text.encode() if isinstance(text, str) else text, FIELDS))


def test_stanzas_end_at_empty_lines() -> None:
    assert read("\n\nPackage: a\nVersion: 1\n\n\nPackage: b\nVersion: 2") == [
        {"name": "a", "version": "1"},
        {"name": "b", "version": "2"},
    ]


def test_a_stanza_without_wanted_fields_is_left_out() -> None:
    assert read("Format: 1\n\nPackage: a\n") == [{"name": "a"}]


def test_names_are_read_without_case_and_lines_with_any_ending() -> None:
    assert read(b"PACKAGE:a\r\nversion :  1 \r\n\r\nPackage: b\r\n") == [{"name": "a", "version": "1"}, {"name": "b"}]


def test_names_are_read_as_they_are_where_case_tells_them_apart() -> None:
    fields = {b"P": "name"}
    assert list(read_stanzas(b"P:musl\np:so:libc.so=1\n", fields, folded=False)) == [{"name": "musl"}]


def test_continued_and_repeated_fields_are_joined() -> None:
    text = "Classifier: one\nClassifier: two\n three\nSummary: no\n four\nVersion: 1\n"
    assert read(text) == [{"classifiers": "one\ntwo\nthree", "version": "1"}]


def test_a_continuation_never_becomes_a_field() -> None:
    text = "Package: a\nDescription: words\n Version: 6.6.6\n .\n\tVersion: 7\nVersion: 1\n"
    assert read(text) == [{"name": "a", "version": "1"}]


def test_a_line_of_spaces_does_not_end_a_stanza() -> None:
    text = "Package: a\nLicense: text\n        \n        more\nVersion: 1\n"
    assert read(text) == [{"name": "a", "version": "1"}]


def test_a_line_that_is_no_field_is_passed_over() -> None:
    assert read("garbage\nPackage: a\n>>>>>>\nVersion: 1\n: y\n") == [{"name": "a", "version": "1"}]


def test_values_are_cut_and_broken_text_is_marked() -> None:
    [stanza] = read(b"Package: " + b"x" * 100_000 + b"\nVersion: \xff1\nClassifier: a\n" + b" b\n" * 100_000)
    assert len(stanza["name"]) == 8192
    assert stanza["version"] == "\N{REPLACEMENT CHARACTER}1"
    assert len(stanza["classifiers"]) == 8192


def test_a_line_as_long_as_a_file_costs_a_fraction_of_it() -> None:
    size = 20 * 1024**2
    content = b"Package: " + b"x" * size + b"\nVersion: 1\n\n" + b"y" * size + b": z\n\nPackage: b\n"
    tracemalloc.start()
    try:
        stanzas = list(read_stanzas(content, FIELDS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(len(stanza["name"]), stanza.get("version")) for stanza in stanzas] == [(8192, "1"), (1, None)]
    # The line itself, and the next one while its name is still bound. Every further copy would be one more.
    assert peak < 2.5 * size


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_head_ends_at_the_first_empty_line(end: str) -> None:
    lines = [
        "Package: a",
        "Classifier: one",
        "\ttwo",
        "Version: 1",
        "",
        "Package: text",
        "Version: 2",
        "",
        "Package: b",
    ]
    head = read_head(end.join(lines).encode(), FIELDS)
    assert head == {"name": "a", "version": "1", "classifiers": "one\ntwo"}


@pytest.mark.parametrize(
    "text", ["", "\n", "Format: 1\n\nPackage: a\nVersion: 1\n", "\r\nPackage: a\n", "\n\nPackage: a"]
)
def test_text_below_a_head_without_fields_is_not_taken_for_one(text: str) -> None:
    assert read_head(text.encode(), FIELDS) == {}


def test_a_head_without_end_is_cut() -> None:
    assert read_head(b"Package: a\n" + b"Summary: b\n" * 200_000 + b"Version: 1\n", FIELDS) == {"name": "a"}


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_nothing_below_the_empty_line_changes_a_head(head: bytes, text: bytes) -> None:
    assert read_head(head + b"\n\n" + text, FIELDS) == read_head(head + b"\n\n", FIELDS)


def test_a_database_of_something_else_is_noted() -> None:
    notes = Notes()
    assert list(read_database(file("db", "\x00\x01binary"), FIELDS, notes)) == []
    assert list(read_database(file("empty", "\n\n"), FIELDS, notes)) == []
    assert notes.lines() == ("db: is not a package database that can be read",)


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    for stanza in read_stanzas(content, FIELDS):
        assert set(stanza) <= {"name", "version", "classifiers"}


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["Package", "Version"]), st.from_regex(r"[!-~]{1,20}", fullmatch=True)))
)
def test_what_was_written_is_read(stanzas: list[dict[str, str]]) -> None:
    text = "\n\n".join("\n".join(f"{name}: {value}" for name, value in stanza.items()) for stanza in stanzas)
    names = {"Package": "name", "Version": "version"}
    assert read(text) == [{names[name]: value for name, value in stanza.items()} for stanza in stanzas if stanza]
