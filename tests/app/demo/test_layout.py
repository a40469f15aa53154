"""Layers and layouts: right by the OCI image specification, and the same bytes for the same input."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.demo.layout import (
    Entry,
    Step,
    image_files,
    opaque,
    pack_layer,
    whiteout,
    write_archive,
    write_file,
    write_layout,
)

paths = st.lists(st.text("abcd.-", min_size=1, max_size=6).filter(lambda part: part.strip(".")), min_size=1, max_size=4)


def members(blob: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_parents_are_added_and_come_first() -> None:
    layer = pack_layer("x", [Entry(path="a/b/c", content=b"1"), Entry(path="a/b.txt", content=b"2")])
    assert list(members(layer.blob)) == ["a", "a/b", "a/b/c", "a/b.txt"]


def test_entries_carry_no_trace_of_who_built_them_or_when() -> None:
    layer = pack_layer("x", [Entry(path="bin/run", content=b"1", executable=True), Entry(path="l", link="bin/run")])
    assert layer.blob[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: no name, no time
    for member in members(layer.blob).values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 1686571200)
    assert members(layer.blob)["bin/run"].mode == 0o755
    assert members(layer.blob)["l"].linkname == "bin/run"


@given(st.dictionaries(paths.map("/".join), st.binary(max_size=20), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(files: dict[str, bytes], random: object) -> None:
    leaves = {path: data for path, data in files.items() if not any(p.startswith(f"{path}/") for p in files)}
    entries = [Entry(path=path, content=data) for path, data in leaves.items()]
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert pack_layer("x", entries) == pack_layer("x", shuffled)


def test_two_entries_of_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        pack_layer("x", [Entry(path="a", content=b"1"), Entry(path="a", content=b"2")])


def test_markers_are_named_as_the_specification_says() -> None:
    assert whiteout("usr/lib/x").path == "usr/lib/.wh.x"
    assert whiteout("x").path == ".wh.x"
    assert opaque("usr/lib").path == "usr/lib/.wh..wh..opq"


def test_every_descriptor_points_at_a_blob_of_its_size_and_digest() -> None:
    layer = pack_layer("RUN it", [Entry(path="a", content=b"1")])
    steps = [Step(created_by="RUN it", layer=layer), Step(created_by="CMD it")]
    digest, files = image_files(steps, reference="demo/x:1.0", settings={"Cmd": ["it"]})

    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["digest"] == digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1.0"
    assert entry["annotations"]["io.containerd.image.name"] == "demo/x:1.0"
    manifest = json.loads(files[f"blobs/{digest.replace(':', '/')}"])
    for descriptor in (entry, manifest["config"], *manifest["layers"]):
        blob = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert descriptor["size"] == len(blob)
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(blob).hexdigest()}"

    configuration = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert configuration["rootfs"]["diff_ids"] == [layer.diff_id]
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(layer.blob)).hexdigest()}"
    assert [line.get("empty_layer", False) for line in configuration["history"]] == [False, True]


def test_directory_and_archive_hold_the_same_files(tmp_path: Path) -> None:
    files = {"index.json": b"{}", "oci-layout": b"{}", "blobs/sha256/abc": b"blob"}
    write_layout(tmp_path / "layout", files)
    write_archive(tmp_path / "layout.tar", files)
    written = {str(path.relative_to(tmp_path / "layout")): path for path in (tmp_path / "layout").rglob("*")}
    assert {name: path.read_bytes() for name, path in written.items() if path.is_file()} == files
    with tarfile.open(tmp_path / "layout.tar") as archive:
        stored = {name: archive.extractfile(name) for name in archive.getnames()}
        assert {name: stream.read() for name, stream in stored.items() if stream is not None} == files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "index.json"
    target.mkdir()  # a directory of that name makes the last step fail
    with pytest.raises(OSError, match="index"):
        write_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]
