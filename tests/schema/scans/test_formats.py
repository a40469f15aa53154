"""Reports told by their beginnings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.kernel.errors import HarborGuardError
from schema.scans.formats import HEAD, ReportFormat, ReportSource, members, recognise, recognised

DOCUMENTS: list[tuple[dict[str, Any], ReportFormat | None]] = [
    ({"SchemaVersion": 2, "ArtifactName": "x", "Results": []}, ReportFormat.TRIVY),
    ({"matches": [], "source": {}, "distro": {}}, ReportFormat.GRYPE),
    ({"artifacts": [], "artifactRelationships": [], "source": {}}, ReportFormat.SYFT),
    ({"results": [], "experimental_config": {}}, ReportFormat.OSV),
    ({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0"}, ReportFormat.SARIF),
    ({"version": "2.1.0", "runs": []}, ReportFormat.SARIF),
    ({"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json"}, ReportFormat.CYCLONEDX),
    ({"bomFormat": "CycloneDX", "components": [{"matches": 1}]}, ReportFormat.CYCLONEDX),
    ({"SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "packages": []}, ReportFormat.SPDX),
    ({"a": {"matches": []}, "b": "results", "c": ["runs"]}, None),
    ({}, None),
]


@pytest.mark.parametrize(("document", "expected"), DOCUMENTS)
@pytest.mark.parametrize("options", [0, orjson.OPT_INDENT_2, orjson.OPT_SORT_KEYS])
def test_a_format_is_told_by_the_document_s_own_members(
    document: dict[str, Any], expected: ReportFormat | None, options: int
) -> None:
    assert recognise(document) is expected
    assert recognise(members(orjson.dumps(document, option=options))) is expected


@pytest.mark.parametrize("content", [b"", b"[]", b'"x"', b"\x1f\x8b", b"<bom/>", b"null", b"\xff\xfe{\x00"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="JSON object"):
        members(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text('abc{}[]:,"\\ \n', max_size=6), JSON, max_size=4), st.integers(0, 300))
def test_members_are_those_the_parser_finds(document: dict[str, Any], cut: int) -> None:
    content = orjson.dumps(document)

    names = [orjson.loads(f'"{name}"') for name in members(content)]

    assert names == list(document)
    shortened = members(content[: max(1, cut)])
    assert list(members(content))[: len(shortened)] == list(shortened)


@given(st.binary(max_size=200))
def test_whatever_follows_is_read_to_its_end(noise: bytes) -> None:
    members(b"{" + noise)


def test_a_source_is_written_and_read() -> None:
    for source in (ReportSource(upload_id="upl-1"), ReportSource(upload_id="upl-1", format=ReportFormat.SPDX)):
        assert ReportSource.parse(str(source)) == source


async def through(content: bytes, stated: ReportFormat | None = None, *, size: int = 1000) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    return b"".join([chunk async for chunk in recognised(chunks(), stated)])


@pytest.mark.parametrize("size", [1, 1000, HEAD, 10 * HEAD])
async def test_a_report_is_let_through_as_it_is(size: int) -> None:
    content = orjson.dumps({"artifacts": [], "padding": "x" * 3 * HEAD})

    assert await through(content, size=size) == content
    assert await through(content, ReportFormat.SYFT, size=size) == content


async def test_what_the_beginning_does_not_tell_is_let_through() -> None:
    late = orjson.dumps({"padding": "x" * HEAD, "what": 1})

    assert await through(late, ReportFormat.GRYPE) == late


@pytest.mark.parametrize(
    ("content", "stated", "said"),
    [
        (b"", None, "must be a JSON object"),
        (b"PK\x03\x04" + b"x" * 2 * HEAD, None, "must be a JSON object"),
        (b'{"what": 1}', ReportFormat.SYFT, "of no format that is read here: Trivy JSON, "),
        (b'{"matches": []}', ReportFormat.SYFT, "is Grype JSON, not Syft JSON"),
    ],
)
async def test_what_is_no_such_report_is_refused_at_once(
    content: bytes, stated: ReportFormat | None, said: str
) -> None:
    with pytest.raises(HarborGuardError, match=said) as refused:
        await through(content, stated)
    assert refused.value.code == "BAD_REQUEST"
