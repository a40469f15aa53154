"""Values of any type are read as what is asked for, or as not said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engines.documents import (
    MAX_TEXT,
    MAX_TEXTS,
    EngineFailure,
    fraction,
    mapping,
    moment,
    objects,
    parse_document,
    path,
    text,
    texts,
    whole,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(ANYTHING)
def test_nothing_is_too_strange(value: object) -> None:
    assert text(value).isprintable()
    assert len(text(value)) <= MAX_TEXT
    assert path(value).isprintable()
    assert not path(value).startswith("/")
    assert len(texts(value)) <= MAX_TEXTS
    assert 0 <= whole(value) < 2**63
    assert all(isinstance(each, dict) for each in objects(value))
    assert isinstance(mapping(value), dict)
    number = fraction(value)
    assert number is None or number == number  # noqa: PLR0124 -- not a NaN
    found = moment(value)
    assert found is None or found.tzinfo is UTC


@given(st.binary())
def test_whatever_was_printed_is_a_document_or_a_failure(data: bytes) -> None:
    try:
        document: object = parse_document(data)
    except EngineFailure:
        document = {}
    assert isinstance(document, dict)


def test_texts_keep_to_one_line() -> None:
    assert text(" a\n\tb\x00\x1b ") == "a b\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert texts(["b", "a", "b", "", 1, None]) == ("b", "a")
    assert path("//srv//a  b") == "srv//a  b"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-05-01T06:14:20.123456789Z", datetime(2026, 5, 1, 6, 14, 20, 123456, tzinfo=UTC)),
        ("2026-05-01T08:14:20+02:00", datetime(2026, 5, 1, 6, 14, 20, tzinfo=UTC)),
        ("2026-05-01T06:14:20", datetime(2026, 5, 1, 6, 14, 20, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("yesterday", None),
    ],
)
def test_times(written: str, expected: datetime | None) -> None:
    assert moment(written) == expected


@pytest.mark.parametrize(("value", "number"), [(True, 0), (-1, 0), (2**70, 2**63 - 1), (1.5, 0), ("7", 0), (7, 7)])
def test_counts(value: object, number: int) -> None:
    assert whole(value) == number
