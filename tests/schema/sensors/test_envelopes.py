"""The head of an envelope, against a whole reading of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.sensors.envelopes import read_members

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "c", 'q"{', "\\]"]) | st.text(max_size=3), JSON, max_size=6)


@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans())
def test_members_are_what_a_parser_finds(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    indent: int | None,
    escaped: bool,  # noqa: FBT001 -- given
) -> None:
    path = tmp_path_factory.getbasetemp() / "head.json"
    try:
        path.write_bytes(json.dumps(document, indent=indent, ensure_ascii=escaped).encode())
    except UnicodeEncodeError:
        return
    wanted = {"a", "b", 'q"{', "\\]"}
    assert read_members(path, wanted) == {name: value for name, value in document.items() if name in wanted}


def test_what_comes_after_the_head_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_bytes(b'{"scan": {"id": "x"}, "findings": [{[ no JSON at all')
    assert read_members(path, {"scan"}) == {"scan": {"id": "x"}}
    with pytest.raises(HarborGuardError) as refused:
        read_members(path, {"scan", "image"})
    assert refused.value.code is ErrorCode.BAD_REQUEST


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    try:
        read_members(path, {"a"})
    except HarborGuardError as error:
        assert error.code is ErrorCode.BAD_REQUEST  # noqa: PT017 -- either outcome is right
