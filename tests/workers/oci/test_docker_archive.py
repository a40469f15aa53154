"""The archive is read back by our own reader, which knows what Docker and its like write."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import Compression, image, layer, write_layout
from workers.oci.archives import open_source
from workers.oci.docker_archive import write_docker_archive
from workers.oci.layers import merge_layers
from workers.oci.layout import read_image
from workers.oci.limits import Budget, ImageLimits

LIMITS = ImageLimits()


def archive_of(tmp_path: Path, *compressions: Compression, budget: Budget | None = None) -> Path:
    layers = [layer({f"file-{number}": b"x" * 3000}, compression=each) for number, each in enumerate(compressions)]
    described = read_image(write_layout(tmp_path / "layout", image(*layers)), LIMITS)
    write_docker_archive(described, tmp_path / "image.tar", budget or Budget(LIMITS))
    return tmp_path / "image.tar"


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_it_holds_the_same_image(tmp_path: Path, compression: Compression) -> None:
    archive = archive_of(tmp_path, compression, "gzip")
    again = open_source(archive, tmp_path / "again", platform=None, limits=LIMITS)
    source = read_image(tmp_path / "layout", LIMITS)
    assert [each.diff_id for each in again.layers] == [each.diff_id for each in source.layers]
    assert again.config == source.config
    merged = merge_layers(again, wanted=lambda _: True, limits=LIMITS)
    assert set(merged.files) == {"file-0", "file-1"}


def test_names_say_how_a_layer_is_packed(tmp_path: Path) -> None:
    with tarfile.open(archive_of(tmp_path, "none", "gzip", "zstd")) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        [listed] = json.load(file)
        assert [name[64:] for name in listed["Layers"]] == [".tar", ".tar.gz", ".tar"]
        assert set(archive.getnames()) == {*listed["Layers"], listed["Config"], "manifest.json"}


def test_a_layer_that_is_there_many_times_is_stored_once(tmp_path: Path) -> None:
    same = layer({"file": b"x" * 100_000}, compression="none")
    described = read_image(write_layout(tmp_path / "layout", image(*[same] * 50)), LIMITS)
    write_docker_archive(described, tmp_path / "image.tar", Budget(LIMITS))
    assert (tmp_path / "image.tar").stat().st_size < 2 * len(same.blob)


def test_the_budget_bounds_it(tmp_path: Path) -> None:
    with pytest.raises(ScanFailure) as caught:
        archive_of(tmp_path, "zstd", budget=Budget(ImageLimits(total_bytes=1000)))
    assert caught.value.code is FailureCode.LIMIT_EXCEEDED


def test_it_can_be_given_up(tmp_path: Path) -> None:
    budget = Budget(LIMITS)
    budget.stop()
    with pytest.raises(ScanFailure) as caught:
        archive_of(tmp_path, "gzip", budget=budget)
    assert caught.value.code is FailureCode.INTERRUPTED
