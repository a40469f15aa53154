"""Feeds as files, directories and archives, whole and hostile."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schema.advisories import feeds
from schema.advisories.feeds import FeedLimits, UnreadableDocument, read_documents
from schema.kernel.errors import ErrorCode, HarborGuardError


def _read(path: Path, limits: FeedLimits | None = None) -> list[tuple[str, object]]:
    return list(read_documents(path, limits=limits or FeedLimits()))


def _names(documents: Iterable[tuple[str, object]]) -> list[str]:
    return [name for name, _ in documents]


def _reason(document: object) -> str:
    assert isinstance(document, UnreadableDocument)
    return document.reason


def _zip(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


# --- Files


def test_a_json_file_is_a_record_or_a_list(tmp_path: Path) -> None:
    single = tmp_path / "one.json"
    single.write_text('{"id": "A"}')
    assert _read(single) == [("one.json", {"id": "A"})]
    several = tmp_path / "all.json"
    several.write_text('[{"id": "A"}, {"id": "B"}]')
    assert _read(several) == [("all.json[0]", {"id": "A"}), ("all.json[1]", {"id": "B"})]
    unnamed = tmp_path / "download"
    unnamed.write_text('{"id": "A"}')
    assert _read(unnamed) == [("download", {"id": "A"})]


def test_a_file_of_lines_keeps_its_good_lines(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_bytes(b'{"id": "A"}\n\n{"id": \n' + b'"' + b"x" * 200 + b'"\n{"id": "B"}')
    documents = _read(path, FeedLimits(document=100))
    assert _names(documents) == ["all.jsonl:1", "all.jsonl:3", "all.jsonl:4", "all.jsonl:5"]
    assert documents[0][1] == {"id": "A"}
    assert _reason(documents[1][1]).startswith("is not JSON")
    assert _reason(documents[2][1]) == "has 203 bytes, more than 100"
    assert documents[3][1] == {"id": "B"}


def test_yaml_scalars_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "PYSEC-1.yaml"
    path.write_text(
        """\
id: PYSEC-1
modified: 2021-06-22T04:54:57Z
withdrawn:
summary: ~
affected:
- package: {name: x, ecosystem: PyPI}
  versions: [1.10, 2, "3", yes]
details: |
  several
  lines
"""
    )
    assert _read(path) == [
        (
            "PYSEC-1.yaml",
            {
                "id": "PYSEC-1",
                "modified": "2021-06-22T04:54:57Z",
                "withdrawn": None,
                "summary": None,
                "affected": [{"package": {"name": "x", "ecosystem": "PyPI"}, "versions": ["1.10", "2", "3", "yes"]}],
                "details": "several\nlines\n",
            },
        )
    ]


def test_several_yaml_documents_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "all.yml"
    path.write_text("id: A\n---\n- id: B\n- id: C\n")
    assert _read(path) == [("all.yml[0]", {"id": "A"}), ("all.yml[1]", {"id": "B"}), ("all.yml[2]", {"id": "C"})]


def test_yaml_anchors_and_what_is_refused_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("one: &x [1]\ntwo: *x\n")
    assert _read(path) == [("a.yaml", {"one": ["1"], "two": ["1"]})]
    for text, reason in [
        ("a: &x [*x]", "is not YAML: alias x contains itself"),
        ("a: *y", "is not YAML: unknown alias y"),
        ("a: [", "is not YAML: while parsing"),
    ]:
        path.write_text(text)
        ((_, document),) = _read(path)
        assert _reason(document).startswith(reason)


def test_t52_deep_nesting_is_refused(tmp_path: Path) -> None:
    # PyYAML's own composer ends the process on this one.
    for name in ("deep.yaml", "deep.json"):
        (tmp_path / name).write_text("[" * 200_000 + "]" * 200_000)
    json_document, yaml_document = (document for _, document in _read(tmp_path))
    assert _reason(json_document).startswith("is not JSON")
    assert _reason(yaml_document) == "is not YAML: nested more than 64 deep"


def test_a_yaml_bomb_stays_small(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    ((_, document),) = _read(path)
    assert isinstance(document, dict)
    assert len(document) == 30  # shared, never multiplied


@given(
    st.recursive(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff"), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
        max_leaves=8,
    )
)
def test_yaml_is_read_as_pyyaml_writes_it(value: object) -> None:
    dumped = yaml.safe_dump(value, allow_unicode=True, default_style='"').encode()
    assert feeds._load_yaml(dumped) == [value]


def test_a_missing_feed_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(HarborGuardError) as raised:
        read_documents(tmp_path / "nowhere")
    assert raised.value.code is ErrorCode.BAD_REQUEST


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(json.dumps([{"id": "A" * 100}]))
    with pytest.raises(HarborGuardError) as raised:
        _read(path, FeedLimits(file=50))
    assert raised.value.code is ErrorCode.PAYLOAD_TOO_LARGE


# --- Directories


def test_a_directory_is_read_in_a_stable_order(tmp_path: Path) -> None:
    (tmp_path / "vulns" / "b").mkdir(parents=True)
    (tmp_path / "vulns" / "b" / "2.yaml").write_text("id: B2")
    (tmp_path / "vulns" / "a.json").write_text('{"id": "A"}')
    (tmp_path / "vulns" / "broken.json").write_text("{")
    (tmp_path / "lines.jsonl").write_text('{"id": "L"}\n')
    (tmp_path / "README.md").write_text("not one of them")
    assert [(name, document) for name, document in _read(tmp_path) if not isinstance(document, UnreadableDocument)] == [
        ("lines.jsonl:1", {"id": "L"}),
        ("vulns/a.json", {"id": "A"}),
        ("vulns/b/2.yaml", {"id": "B2"}),
    ]
    assert _names(_read(tmp_path)) == ["lines.jsonl:1", "vulns/a.json", "vulns/b/2.yaml", "vulns/broken.json"]


def test_t50_hidden_files_and_links_are_skipped(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text('{"id": "SECRET"}')
    feed = tmp_path / "feed"
    (feed / ".git").mkdir(parents=True)
    (feed / ".git" / "x.json").write_text("{}")
    (feed / ".hidden.json").write_text("{}")
    (feed / "link.json").symlink_to(outside / "secret.json")
    (feed / "linked").symlink_to(outside)
    (feed / "loop").symlink_to(feed)
    (feed / "real.json").write_text('{"id": "A"}')
    os.mkfifo(feed / "pipe.json")
    assert _read(feed) == [("real.json", {"id": "A"})]


@pytest.mark.parametrize("name", ["b.json", "b.jsonl"])
def test_t50_a_file_swapped_for_a_link_or_a_pipe_is_not_read(tmp_path: Path, name: str) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    (feed / "a.json").write_text('{"id": "A"}')
    (feed / name).write_text('{"id": "B"}')
    (tmp_path / "secret.json").write_text('{"id": "SECRET"}')
    for swap in ("link", "pipe", "gone"):
        documents = read_documents(feed)
        assert next(documents) == ("a.json", {"id": "A"})
        (feed / name).unlink()
        if swap == "link":
            (feed / name).symlink_to(tmp_path / "secret.json")
        elif swap == "pipe":
            os.mkfifo(feed / name)
        ((listed, document),) = list(documents)
        assert listed == name
        _reason(document)
        (feed / name).unlink(missing_ok=True)
        (feed / name).write_text('{"id": "B"}')


def test_a_large_file_of_a_directory_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"id": "A" * 100}))
    (tmp_path / "b.json").write_text('{"id": "B"}')
    (_, first), second = _read(tmp_path, FeedLimits(document=50))
    assert _reason(first) == "has more than 50 bytes"
    assert second == ("b.json", {"id": "B"})


# --- Archives


def test_an_archive_is_read_member_by_member(tmp_path: Path) -> None:
    path = _zip(
        tmp_path / "all.zip",
        ("PYSEC-1.json", b'{"id": "A"}'),
        ("sub/PYSEC-2.yaml", b"id: B"),
        ("broken.json", b"{"),
        ("list.json", b'[{"id": "C"}, {"id": "D"}]'),
        ("lines.jsonl", b'{"id": "E"}\n{\n'),
        (".hidden/x.json", b"{}"),
        ("README.md", b"no"),
        ("empty/", b""),
    )
    documents = _read(path)
    assert _names(documents) == [
        "PYSEC-1.json",
        "sub/PYSEC-2.yaml",
        "broken.json",
        "list.json[0]",
        "list.json[1]",
        "lines.jsonl:1",
        "lines.jsonl:2",
    ]
    assert [document for _, document in documents if not isinstance(document, UnreadableDocument)] == [
        {"id": "A"},
        {"id": "B"},
        {"id": "C"},
        {"id": "D"},
        {"id": "E"},
    ]


def test_t50_names_that_point_outside_write_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = _zip(inside / "all", ("../../evil.json", b'{"id": "A"}'), ("/etc/evil.json", b'{"id": "B"}'))
    assert _read(path)[1:] == [("/etc/evil.json", {"id": "B"})]
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["all", "inside"]


def test_t50_a_zip_bomb_is_one_unreadable_document(tmp_path: Path) -> None:
    bomb = b'{"id": "' + b"A" * (8 << 20) + b'"}'
    path = _zip(tmp_path / "all.zip", ("bomb.json", bomb), ("good.json", b'{"id": "B"}'))
    (_, first), second = _read(path)
    assert _reason(first).startswith("unpacks to more than")
    assert second == ("good.json", {"id": "B"})
    ((_, limited), _) = _read(path, FeedLimits(document=1000, ratio=100_000))
    assert _reason(limited) == "unpacks to more than 1000 bytes"


def test_t50_an_archive_over_its_limits_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "all.zip", *((f"{number}.json", b'{"id": "A"}') for number in range(10)))
    for limits in (FeedLimits(members=9), FeedLimits(total=50)):
        with pytest.raises(HarborGuardError) as raised:
            _read(path, limits)
        assert raised.value.code is ErrorCode.PAYLOAD_TOO_LARGE


def test_members_that_cannot_be_unpacked_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad.json", b'{"id": "CORRUPTED"}')
        archive.writestr("xz.json", b'{"id": "X"}', compress_type=zipfile.ZIP_LZMA)
        archive.writestr("locked.json", b'{"id": "L"}')
        archive.writestr("good.json", b'{"id": "A"}')
    data = bytearray(path.read_bytes().replace(b"CORRUPTED", b"CORRUPTEX", 1))
    # The encryption bit of the central directory's entry for locked.json.
    central = data.index(b"PK\x01\x02", data.index(b"xz.json", data.index(b"PK\x01\x02")))
    data[central + 8] |= 1
    path.write_bytes(data)
    documents = dict(_read(path))
    assert "CRC" in _reason(documents["bad.json"])
    assert _reason(documents["xz.json"]) == "is packed by a method other than deflate"
    assert _reason(documents["locked.json"]) == "is encrypted"
    assert documents["good.json"] == {"id": "A"}


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "whole.zip", ("a.json", b'{"id": "A"}')).read_bytes()
    path = tmp_path / "all.zip"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HarborGuardError) as raised:
        _read(path)
    assert raised.value.code is ErrorCode.BAD_REQUEST


# --- Progress


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    directory = tmp_path / "feed"
    directory.mkdir()
    (directory / "a.json").write_text('{"id": "A"}')
    (directory / "b.yaml").write_text("id: B")
    (directory / "c.jsonl").write_text('{"id": "C"}\n{"id": "D"}\n')
    lines = directory / "c.jsonl"
    archive = _zip(tmp_path / "all.zip", ("a.json", b'{"id": "A"}'), ("b.json", b'{"id": "B"}'), ("c.txt", b"x"))
    for path, steps in [(directory, 4), (archive, 2), (lines, 2), (directory / "a.json", 1)]:
        seen: list[tuple[int, int]] = []
        assert list(read_documents(path, on_progress=_recorder(seen))) == _read(path)
        assert len(seen) == steps
        assert seen == sorted(seen)
        assert len({total for _, total in seen}) == 1
        assert seen[-1][0] == seen[-1][1] > 0


def _recorder(seen: list[tuple[int, int]]) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        seen.append((done, total))

    return report
