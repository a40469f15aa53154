"""The merged view: what a container would see, told by the layers that made it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import (
    Compression,
    Directory,
    Entry,
    File,
    Files,
    Hardlink,
    Layer,
    Opaque,
    Special,
    Symlink,
    Whiteout,
    image,
    layer,
    tar,
    write_layout,
)
from workers.oci.files import MergedImage
from workers.oci.layers import merge_layers
from workers.oci.layout import read_image
from workers.oci.limits import ImageLimits

LIMITS = ImageLimits()


def everything(_path: str) -> bool:
    return True


@pytest.fixture
def merge(tmp_path: Path) -> Callable[..., MergedImage]:
    def merged(
        *layers: Files | Layer, wanted: Callable[[str], bool] = everything, limits: ImageLimits = LIMITS
    ) -> MergedImage:
        built = [each if isinstance(each, Layer) else layer(each) for each in layers]
        write_layout(tmp_path / "layout", image(*built))
        return merge_layers(tmp_path / "layout", wanted=wanted, limits=limits)

    return merged


Merge = Callable[..., MergedImage]


def contents(merged: MergedImage) -> dict[str, bytes]:
    return {path: file.content for path, file in merged.files.items()}


def only(*paths: str) -> Callable[[str], bool]:
    return set(paths).__contains__


def test_a_file_that_every_layer_rewrites_is_held_once(merge: Merge) -> None:
    size = 400_000
    limits = replace(LIMITS, memory_bytes=6 * size)  # a layer on its way and what it replaces, for each reader
    merged = merge(*({"db": bytes([number]) * size} for number in range(20)), limits=limits)
    assert contents(merged) == {"db": bytes([19]) * size}
    assert merged.files["db"].layer_index == 19


def test_the_lower_of_two_files_is_still_there_under_its_other_name(merge: Merge) -> None:
    merged = merge({"a": b"1"}, {"b": Hardlink("a"), "a": b"2"}, {"a": b"3"})
    assert contents(merged) == {"a": b"3", "b": b"1"}


def test_where_any_file_comes_from(merge: Merge) -> None:
    base = layer({"usr/lib/a.so": b"1", "lib": Symlink("usr/lib"), "etc/x": b"1"})
    top = layer({"etc/x": b"2", "etc/y": Hardlink("usr/lib/a.so")})
    merged = merge(base, top, wanted=only())
    places = {path: merged.locate(path) for path in ("lib/a.so", "usr/lib/a.so", "etc/x", "etc/y", "lib", "gone")}
    assert {path: place.layer_index for path, place in places.items() if place} == {
        "lib/a.so": 0,
        "usr/lib/a.so": 0,
        "etc/x": 1,
        "etc/y": 1,
    }
    assert places["etc/x"] is not None
    assert places["etc/x"].layer_digest == top.diff_id


def test_files_know_their_layer(merge: Merge) -> None:
    base, top = layer({"etc/os-release": b"ID=debian", "a": b"1"}), layer({"a": b"2", "dir/b": b"3"})
    merged = merge(base, top)
    assert contents(merged) == {"etc/os-release": b"ID=debian", "a": b"2", "dir/b": b"3"}
    assert merged.files["etc/os-release"].layer_digest == base.diff_id
    assert (merged.files["a"].layer_index, merged.files["a"].layer_digest) == (1, top.diff_id)
    assert merged.files["dir/b"].path == "dir/b"
    assert merged.warnings == ()


def test_layers_are_described(merge: Merge) -> None:
    base = layer({"etc/": Directory(), "etc/a": b"1", "l": Symlink("etc/a"), "h": Hardlink("etc/a")}, created_by="ADD")
    top = layer({"x": Whiteout(), "dev/null": Special()}, compression="zstd")
    first, second = merge(base, top).layers
    assert (first.index, first.digest, first.diff_id, first.created_by) == (0, base.digest, base.diff_id, "ADD")
    assert (first.size, first.diff_size, first.file_count) == (len(base.blob), len(base.tar), 3)
    assert (second.index, second.file_count, second.diff_size) == (1, 0, len(top.tar))
    assert second.media_type.endswith("+zstd")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_compressions(merge: Merge, compression: Compression) -> None:
    big = bytes(range(256)) * 4096  # spans several blocks
    merged = merge(layer({"a": b"1", "big": big, "z": b"2"}, compression=compression))
    assert contents(merged) == {"a": b"1", "big": big, "z": b"2"}


def test_only_wanted_files_are_kept(merge: Merge) -> None:
    merged = merge({"a": b"1", "b": b"2", "c": b"3"}, wanted=only("b"))
    assert contents(merged) == {"b": b"2"}
    assert merged.layers[0].file_count == 3


def test_an_image_without_layers_is_empty(merge: Merge) -> None:
    merged = merge()
    assert (merged.files, merged.layers) == ({}, ())


def test_a_described_image_is_taken_as_it_is(tmp_path: Path) -> None:
    described = read_image(write_layout(tmp_path, image(layer({"a": b"1"}))), LIMITS)
    assert contents(merge_layers(described, wanted=everything, limits=LIMITS)) == {"a": b"1"}


class TestWhiteouts:
    def test_a_whiteout_removes_a_file(self, merge: Merge) -> None:
        assert contents(merge({"etc/a": b"1", "etc/b": b"2"}, {"etc/a": Whiteout()})) == {"etc/b": b"2"}

    def test_a_whiteout_removes_a_directory(self, merge: Merge) -> None:
        assert contents(merge({"opt/app/a": b"1", "opt/b": b"2"}, {"opt/app": Whiteout()})) == {"opt/b": b"2"}

    def test_a_whiteout_spares_its_own_layer(self, merge: Merge) -> None:
        for files in ([("a", b"2"), ("a", Whiteout())], [("a", Whiteout()), ("a", b"2")]):
            assert contents(merge({"a": b"1"}, files)) == {"a": b"2"}

    def test_a_whiteout_and_a_new_directory_replace_the_old_one(self, merge: Merge) -> None:
        merged = merge({"app/old": b"1"}, {"app": Whiteout(), "app/": Directory(), "app/new": b"2"})
        assert contents(merged) == {"app/new": b"2"}

    def test_a_whiteout_of_nothing_is_harmless(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1"}, {"b": Whiteout(), "no/such/c": Whiteout(), "a/b": Whiteout()})) == {
            "a": b"1"
        }

    def test_a_deleted_file_may_come_back(self, merge: Merge) -> None:
        merged = merge({"a": b"1"}, {"a": Whiteout()}, {"a": b"3"})
        assert (merged.files["a"].content, merged.files["a"].layer_index) == (b"3", 2)

    def test_opaque_hides_only_what_is_below(self, merge: Merge) -> None:
        for files in (
            [("app", Opaque()), ("app/new", b"2"), ("app/sub/x", b"3")],
            [("app/new", b"2"), ("app/sub/x", b"3"), ("app", Opaque())],
        ):
            merged = merge({"app/old": b"1", "app/sub/y": b"1", "other": b"1"}, files)
            assert contents(merged) == {"app/new": b"2", "app/sub/x": b"3", "other": b"1"}

    def test_opaque_root(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b/c": b"1"}, {"": Opaque(), "d": b"2"})) == {"d": b"2"}

    def test_aufs_metadata_is_no_file(self, merge: Merge) -> None:
        assert contents(merge({".wh..wh.plnk/1.2": b"x", ".wh..wh.aufs": b"x", "a": b"1"})) == {
            "a": b"1",
        }

    def test_a_whiteout_below_a_linked_directory_removes_from_where_it_leads(self, merge: Merge) -> None:
        merged = merge({"usr/lib/a": b"1", "usr/lib/b": b"2", "lib": Symlink("usr/lib")}, {"lib/a": Whiteout()})
        assert contents(merged) == {"usr/lib/b": b"2"}

    def test_a_directory_in_place_of_a_link_does_not_empty_where_the_link_led(self, merge: Merge) -> None:
        merged = merge(
            {"usr/lib/a": b"1", "lib": Symlink("usr/lib")}, {"lib/": Directory(), "lib": Opaque(), "lib/b": b"2"}
        )
        assert contents(merged) == {"usr/lib/a": b"1", "lib/b": b"2"}


class TestReplacements:
    def test_a_directory_becomes_a_file(self, merge: Merge) -> None:
        assert contents(merge({"a/b": b"1", "a/c/d": b"1"}, {"a": b"2"})) == {"a": b"2"}

    def test_a_directory_becomes_a_link(self, merge: Merge) -> None:
        assert contents(merge({"a/b": b"1", "c/b": b"2"}, {"a": Symlink("c")})) == {"c/b": b"2"}

    def test_a_file_becomes_a_link(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b": b"2"}, {"a": Symlink("b")})) == {"b": b"2"}

    def test_a_file_becomes_a_directory(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1"}, {"a/": Directory(), "a/b": b"2"})) == {"a/b": b"2"}
        assert contents(merge({"a": b"1"}, {"a/b": b"2"})) == {"a/b": b"2"}

    def test_a_file_becomes_a_device(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b": b"2"}, {"a": Special(), "b": Special(tarfile.FIFOTYPE)})) == {}

    def test_a_directory_entry_keeps_what_is_in_it(self, merge: Merge) -> None:
        assert contents(merge({"a/b": b"1"}, {"a/": Directory()})) == {"a/b": b"1"}

    def test_t50_duplicate_names_last_wins(self, merge: Merge) -> None:
        merged = merge([("a", b"1"), ("b/c", b"1"), ("a", b"2"), ("b", b"file"), ("./a", b"3")])
        assert contents(merged) == {"a": b"3", "b": b"file"}

    def test_within_a_layer_kinds_replace_each_other(self, merge: Merge) -> None:
        merged = merge([("a/b", b"1"), ("a", Symlink("c")), ("c/x", b"2"), ("a", Directory()), ("a/y", b"3")])
        assert contents(merged) == {"c/x": b"2", "a/y": b"3"}

    def test_a_setuid_file_is_a_file(self, merge: Merge) -> None:
        assert contents(merge({"bin/su": File(b"elf", mode=0o4755)})) == {"bin/su": b"elf"}


class TestHardLinks:
    def test_a_link_has_the_content_of_its_target(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "d/b": Hardlink("a")})) == {"a": b"1", "d/b": b"1"}

    def test_the_target_need_not_be_wanted(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b": Hardlink("a")}, wanted=only("b"))) == {"b": b"1"}

    def test_a_link_may_be_unwanted(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b": Hardlink("a")}, wanted=only("a"))) == {"a": b"1"}

    def test_links_of_links(self, merge: Merge) -> None:
        merged = merge({"a": b"1", "b": Hardlink("a"), "c": Hardlink("./b")}, wanted=only("c"))
        assert contents(merged) == {"c": b"1"}

    def test_a_link_keeps_the_content_when_its_target_changes(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "b": Hardlink("a")}, {"a": b"2"})) == {"a": b"2", "b": b"1"}

    def test_a_link_into_a_lower_layer(self, merge: Merge) -> None:
        merged = merge({"a": b"1"}, {"b": Hardlink("/a")})
        assert contents(merged) == {"a": b"1", "b": b"1"}
        assert (merged.files["a"].layer_index, merged.files["b"].layer_index) == (0, 1)

    def test_a_link_into_a_lower_layer_that_this_layer_deletes(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1"}, {"a": Whiteout(), "b": Hardlink("a")})) == {"b": b"1"}

    def test_a_link_to_a_symbolic_link_is_one(self, merge: Merge) -> None:
        assert contents(merge({"a": b"1", "s": Symlink("a"), "h": Hardlink("s")}, {"a": Whiteout()})) == {}

    def test_a_link_to_nothing_is_a_warning(self, merge: Merge) -> None:
        merged = merge({"b": Hardlink("no/such"), "c": b"1"})
        assert contents(merged) == {"c": b"1"}
        assert merged.warnings == ("A hard link leads to no/such, which does not exist",)

    def test_a_link_to_a_directory_is_nothing(self, merge: Merge) -> None:
        assert contents(merge({"a/b": b"1", "c": Hardlink("a")})) == {"a/b": b"1"}


class TestSymbolicLinks:
    def test_a_file_is_listed_under_its_own_path_only(self, merge: Merge) -> None:
        merged = merge({"lib": Symlink("usr/lib"), "usr/lib/a": b"1", "b": Symlink("usr/lib/a")})
        assert contents(merged) == {"usr/lib/a": b"1"}

    def test_a_wanted_path_through_a_linked_directory_is_found(self, merge: Merge) -> None:
        for target in ("usr/lib", "/usr/lib", "./usr/../usr/lib", "usr/lib64"):
            merged = merge(
                {"lib": Symlink(target), "usr/lib64": Symlink("lib"), "usr/lib/apk/db/installed": b"P:musl"},
                wanted=only("lib/apk/db/installed"),
            )
            assert contents(merged) == {"lib/apk/db/installed": b"P:musl"}
            assert merged.files["lib/apk/db/installed"].path == "lib/apk/db/installed"

    def test_a_wanted_path_that_is_a_link_is_found(self, merge: Merge) -> None:
        merged = merge(
            {"usr/lib/os-release": b"ID=x"},
            {"etc/os-release": Symlink("../usr/lib/os-release")},
            wanted=only("etc/os-release"),
        )
        assert merged.files["etc/os-release"].content == b"ID=x"
        assert merged.files["etc/os-release"].layer_index == 0

    def test_a_file_reached_by_two_links_is_listed_once(self, merge: Merge) -> None:
        merged = merge(
            {"a": Symlink("real"), "b": Symlink("real"), "real/f": b"1"},
            wanted=lambda path: not path.startswith("real"),
        )
        assert contents(merged) == {"a/f": b"1"}

    def test_a_link_cannot_climb_out_of_the_root(self, merge: Merge) -> None:
        merged = merge({"a/b": Symlink("../../../../etc"), "etc/passwd": b"root"}, wanted=only("a/b/passwd"))
        assert contents(merged) == {"a/b/passwd": b"root"}

    def test_loops_and_dead_ends_reach_nothing(self, merge: Merge) -> None:
        merged = merge(
            {
                "a": Symlink("b"),
                "b": Symlink("a"),
                "c": Symlink("c/c"),
                "d": Symlink("none"),
                "e": Symlink("."),
                "f": b"1",
            },
            wanted=lambda path: path != "f",
        )
        assert contents(merged) == {"e/f": b"1"}

    def test_an_entry_below_a_linked_directory_goes_where_it_leads(self, merge: Merge) -> None:
        merged = merge({"lib": Symlink("usr/lib"), "usr/lib/a": b"1"}, {"lib/a": b"2", "lib/b/c": b"3"})
        assert contents(merged) == {"usr/lib/a": b"2", "usr/lib/b/c": b"3"}
        assert merged.files["usr/lib/b/c"].layer_index == 1

    def test_an_absolute_link_of_a_lower_layer_leads_inside_the_root(self, merge: Merge) -> None:
        merged = merge({"var/run": Symlink("/run"), "run/a": b"1"}, {"var/run/b": b"2"})
        assert contents(merged) == {"run/a": b"1", "run/b": b"2"}

    def test_a_directory_of_its_own_replaces_a_link(self, merge: Merge) -> None:
        merged = merge({"lib": Symlink("usr/lib"), "usr/lib/a": b"1"}, {"lib/": Directory(), "lib/a": b"2"})
        assert contents(merged) == {"usr/lib/a": b"1", "lib/a": b"2"}

    def test_an_entry_below_a_dead_link_takes_its_place(self, merge: Merge) -> None:
        assert contents(merge({"lib": Symlink("gone")}, {"lib/a": b"1"})) == {"lib/a": b"1"}

    def test_a_relative_link_of_the_same_layer_is_followed(self, merge: Merge) -> None:
        merged = merge([("lib", Symlink("usr/lib")), ("lib/a", b"1"), ("lib/b", b"2"), ("usr/lib/c", b"3")])
        assert contents(merged) == {"usr/lib/a": b"1", "usr/lib/b": b"2", "usr/lib/c": b"3"}

    def test_moved_files_are_judged_by_where_they_are(self, merge: Merge) -> None:
        layers = layer({"lib": Symlink("usr/lib"), "usr/lib/x": b"0"}), layer({"lib/a": b"1", "z": b"2"})
        assert contents(merge(*layers, wanted=only("usr/lib/a"))) == {"usr/lib/a": b"1"}
        assert contents(merge(*layers, wanted=only("lib/a"))) == {"lib/a": b"1"}


class TestNames:
    def test_names_are_normalised(self, merge: Merge) -> None:
        merged = merge({"./a": b"1", "/b": b"2", "c//d": b"3", "e/./f": b"4", "g/../h": b"5", "./": Directory()})
        assert contents(merged) == {"a": b"1", "b": b"2", "c/d": b"3", "e/f": b"4", "h": b"5"}

    @pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names(self, merge: Merge, style: int) -> None:
        name, other = "d/" * 100 + "x" * 200, "l" * 300
        merged = merge(layer(tar({name: b"1", other: Hardlink(name), "ü": b"2"}, style=style)))
        assert contents(merged) == {name: b"1", other: b"1", "ü": b"2"}

    def test_ustar_prefix(self, merge: Merge) -> None:
        name = "d" * 90 + "/" + "f" * 90
        assert contents(merge(layer(tar({name: b"1"}, style=tarfile.USTAR_FORMAT)))) == {name: b"1"}

    def test_names_that_are_not_utf8_become_text(self, merge: Merge) -> None:
        raw = tar({"XXX": b"1"}, style=tarfile.USTAR_FORMAT)
        header = bytearray(raw[:512])
        header[:3] = b"a\xffb"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        merged = merge(layer(bytes(header) + raw[512:]))
        assert contents(merged) == {"a\\xffb": b"1"}

    def test_extended_attributes_are_passed_over(self, merge: Merge) -> None:
        merged = merge({"a": File(b"1", pax=(("SCHILY.xattr.security.capability", "path=x"), ("mtime", "1.5")))})
        assert contents(merged) == {"a": b"1"}


def test_an_empty_file_is_a_file(merge: Merge) -> None:
    assert contents(merge({"a": b"", "b": Hardlink("a")})) == {"a": b"", "b": b""}


def test_a_tar_without_its_end_is_read(merge: Merge) -> None:
    raw = io.BytesIO(tar({"a": b"1"})).read(1024)
    assert contents(merge(layer(raw), layer(b""))) == {"a": b"1"}


def test_what_is_behind_the_end_is_ignored_but_hashed(merge: Merge) -> None:
    assert contents(merge(layer(tar({"a": b"1"}) + tar({"b": b"2"}) + b"junk"))) == {"a": b"1"}


def test_many_layers_keep_their_order(merge: Merge) -> None:
    merged = merge(*({"a": str(number).encode(), f"f{number}": b"x" * number * 50_000} for number in range(12)))
    assert merged.files["a"].content == b"11"
    assert [record.index for record in merged.layers] == list(range(12))


def test_a_layer_that_is_used_twice_counts_twice(merge: Merge) -> None:
    same = layer({"a": b"1"})
    merged = merge(same, {"a": Whiteout()}, same)
    assert merged.files["a"].layer_index == 2


def test_a_wrong_predicate_is_not_swallowed(merge: Merge) -> None:
    def broken(_path: str) -> bool:
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match="defect"):
        merge({"a": b"1"}, {"b": b"2"}, wanted=broken)


def test_a_layer_with_another_diff_id_is_refused(tmp_path: Path) -> None:
    good = layer({"a": b"1"})
    changes = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
    write_layout(tmp_path, image(good, changes=changes))
    with pytest.raises(ScanFailure) as caught:
        merge_layers(tmp_path, wanted=everything, limits=LIMITS)
    assert caught.value.code is FailureCode.DIGEST_MISMATCH


_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.binary(max_size=3), st.just(Directory()), st.just(Whiteout()), st.just(Opaque()), st.just(Special())
)
_LAYERS = st.lists(st.lists(st.tuples(_PATHS, _ENTRIES), max_size=6), max_size=5)


@settings(deadline=None)
@given(layers=_LAYERS)
def test_the_view_agrees_with_layers_applied_one_by_one(
    layers: list[list[tuple[str, Entry]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A second, slow and obvious implementation for everything without links: a dict of paths."""
    model: dict[str, bytes | None] = {}  # None is a directory or device
    for entries in layers:
        for path, entry in entries:
            if isinstance(entry, Whiteout | Opaque):
                gone = [old for old in model if old.startswith(path + "/") or (entry == Whiteout() and old == path)]
                for old in gone:
                    del model[old]
        for path, entry in entries:
            if isinstance(entry, Whiteout):
                continue
            if not isinstance(entry, Opaque):
                parents = [path[:at] for at, mark in enumerate(path) if mark == "/"]
                for parent in parents:
                    model.pop(parent, None)
                if not isinstance(entry, Directory):
                    for old in [old for old in model if old.startswith(path + "/")]:
                        del model[old]
                model[path] = entry if isinstance(entry, bytes) else None
    root = tmp_path_factory.mktemp("layout")
    write_layout(root, image(*(layer(entries) for entries in layers)))
    merged = merge_layers(root, wanted=everything, limits=LIMITS)
    assert contents(merged) == {path: content for path, content in model.items() if content is not None}
