"""The layout an image is copied into: nothing is visible that was not verified."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import CREATED, Image, digest_of, encode, image, index, layer, write_layout
from workers.oci.layout import Layout, read_image
from workers.oci.limits import ImageLimits
from workers.oci.manifests import Manifest

LIMITS = ImageLimits()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout", LIMITS)


def files_of(layout: Layout) -> set[str]:
    return {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}


def store(layout: Layout, built: Image) -> Manifest:
    for digest, data in built.blobs.items():
        if digest != built.digest:
            layout.add_blob(data, digest)
    return Manifest.parse(built.manifest, layout.limits)


class TestBlobs:
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_a_blob_appears_when_it_is_whole(self, layout: Layout, algorithm: str) -> None:
        digest = digest_of(b"hello world", algorithm)
        with layout.new_blob(digest, size=11) as blob:
            blob.write(b"hello ")
            assert not layout.has_blob(digest)
            blob.write(memoryview(b"world"))
            assert blob.written == 11
        assert layout.has_blob(digest)
        assert files_of(layout) == {f"blobs/{digest.replace(':', '/')}"}
        with layout.open_blob(digest) as stored:
            assert stored.read() == b"hello world"

    def test_a_blob_can_be_read_by_an_engine_of_another_user(self, layout: Layout) -> None:
        digest = layout.add_blob(b"x")
        path = layout.root / "blobs" / digest.replace(":", "/")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def test_a_blob_without_an_announced_digest_is_named_by_its_own(self, layout: Layout) -> None:
        with layout.new_blob() as blob:
            blob.write(b"data")
        assert blob.digest == digest_of(b"data")
        assert layout.has_blob(blob.digest)

    @pytest.mark.parametrize(("data", "size"), [(b"date", 4), (b"dat", 4), (b"data", 3), (b"data", 5), (b"data!", 4)])
    def test_t50_wrong_digest_or_size_leaves_nothing(self, layout: Layout, data: bytes, size: int) -> None:
        with pytest.raises(ScanFailure) as caught, layout.new_blob(digest_of(b"data"), size=size) as blob:
            blob.write(data)
        assert caught.value.code is FailureCode.DIGEST_MISMATCH
        assert files_of(layout) == set()

    def test_an_interrupted_blob_leaves_nothing(self, layout: Layout) -> None:
        def interrupted() -> None:
            with layout.new_blob(digest_of(b"data")) as blob:
                blob.write(b"data")
                raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            interrupted()
        assert files_of(layout) == set()

    def test_t50_total_size_is_counted_over_all_blobs(self, tmp_path: Path) -> None:
        layout = Layout.create(tmp_path, ImageLimits(total_bytes=10))
        layout.add_blob(b"12345678")
        with pytest.raises(ScanFailure) as caught:
            layout.add_blob(b"123")
        assert caught.value.code is FailureCode.LIMIT_EXCEEDED
        assert len(files_of(layout)) == 1

    @pytest.mark.parametrize("digest", ["", "sha256:../../x", "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256"])
    def test_only_digests_become_paths(self, layout: Layout, digest: str) -> None:
        for use in (layout.new_blob, layout.has_blob, layout.open_blob):
            with pytest.raises(ScanFailure) as caught:
                use(digest)
            assert caught.value.code is FailureCode.IMAGE_INVALID

    def test_a_missing_blob_is_a_scan_failure(self, layout: Layout) -> None:
        with pytest.raises(ScanFailure, match="missing") as caught:
            layout.open_blob(digest_of(b"never written"))
        assert str(layout.root) not in caught.value.message


class TestImages:
    def test_a_finished_layout_holds_exactly_one_manifest(self, layout: Layout) -> None:
        built = image(layer({"a": b"1"}), platform="linux/arm/v7")
        written = layout.write_manifest(store(layout, built), names=("acme/api:1",))
        listed = json.loads((layout.root / "index.json").read_bytes())["manifests"]
        assert listed == [built.descriptor]
        assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        assert written.names == ("acme/api:1",)
        assert written.layout == layout.root
        again = read_image(layout.root, LIMITS)
        assert (again.digest, again.layers, again.config) == (written.digest, written.layers, written.config)

    def test_an_image_tells_what_its_documents_say(self, layout: Layout) -> None:
        base, top = layer({"a": b"1"}), layer({"b": b"2"}, compression="zstd")
        config: dict[str, Any] = {
            "User": "app",
            "WorkingDir": "/srv",
            "Entrypoint": ["/bin/app"],
            "Cmd": "serve",
            "Env": ["PATH=/bin", "TOKEN=hunter2", 1],
            "Labels": {"org.opencontainers.image.version": "1", "odd": 1},
            "ExposedPorts": {"8080/tcp": {}},
            "Volumes": None,
        }
        history: list[dict[str, Any]] = [
            {"created": CREATED, "created_by": "ADD rootfs"},
            {"created_by": "ENV PATH", "empty_layer": True},
            {"created_by": "COPY app", "comment": "buildkit"},
        ]
        found = layout.write_manifest(store(layout, image(base, top, config=config, history=history)))
        assert (found.platform, found.created) == ("linux/amd64", CREATED)
        assert found.labels == {"org.opencontainers.image.version": "1"}
        assert [each.created_by for each in found.layers] == ["ADD rootfs", "COPY app"]
        assert [each.diff_id for each in found.layers] == [base.diff_id, top.diff_id]
        assert [each.layer_index for each in found.history] == [0, None, 1]
        assert found.history[2].comment == "buildkit"
        assert found.size_bytes == len(base.blob) + len(top.blob)
        assert found.summary == {
            "created": CREATED,
            "user": "app",
            "workingDirectory": "/srv",
            "entrypoint": ["/bin/app"],
            "command": ["serve"],
            "environment": ["PATH", "TOKEN"],
            "exposedPorts": ["8080/tcp"],
            "volumes": [],
            "labels": {"org.opencontainers.image.version": "1"},
        }
        assert "hunter2" not in repr(found.summary)

    @pytest.mark.parametrize(
        "history", [None, "text", [], [{"created_by": "only one"}], [{"created_by": 1}, {"created_by": []}], [1, 2]]
    )
    def test_a_history_that_does_not_fit_says_nothing(self, layout: Layout, history: Any) -> None:
        built = image(layer({"a": b"1"}), layer({"b": b"2"}), changes={"history": history})
        found = layout.write_manifest(store(layout, built))
        assert [each.created_by for each in found.layers] == ["", ""]

    @pytest.mark.parametrize(
        "changes",
        [
            {"rootfs": None},
            {"rootfs": {"diff_ids": "x"}},
            {"rootfs": {"diff_ids": [1]}},
            {"rootfs": {"diff_ids": ["sha256:../x"]}},
            {"rootfs": {"diff_ids": []}},
        ],
    )
    def test_a_config_that_does_not_match_the_manifest_is_refused(
        self, layout: Layout, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(ScanFailure) as caught:
            layout.write_manifest(store(layout, image(layer({"a": b"1"}), changes=changes)))
        assert caught.value.code is FailureCode.IMAGE_INVALID
        assert not (layout.root / "index.json").exists()

    @pytest.mark.parametrize("changes", [{"os": None}, {"architecture": 1}, {"os": "a b"}, {"os": "", "created": 5}])
    def test_a_config_without_a_platform_is_unknown(self, layout: Layout, changes: dict[str, Any]) -> None:
        found = layout.write_manifest(store(layout, image(changes=changes)), platform="linux/s390x")
        assert found.platform == "unknown/unknown"

    def test_the_wanted_platform_is_checked_against_the_config(self, layout: Layout) -> None:
        manifest = store(layout, image(platform="linux/arm64"))
        assert layout.write_manifest(manifest, platform="linux/arm64/v8").platform == "linux/arm64"
        with pytest.raises(ScanFailure) as caught:
            layout.write_manifest(manifest, platform="linux/amd64")
        assert caught.value.code is FailureCode.PLATFORM_NOT_FOUND
        assert "linux/arm64" in caught.value.message

    def test_a_config_may_be_silent_about_the_variant(self, layout: Layout) -> None:
        assert layout.write_manifest(store(layout, image(platform="linux/arm")), platform="linux/arm/v7")

    def test_an_image_is_not_finished_without_its_layers(self, layout: Layout) -> None:
        built = image(layer({"a": b"1"}))
        layout.add_blob(built.config)
        with pytest.raises(ScanFailure) as caught:
            layout.write_manifest(Manifest.parse(built.manifest, LIMITS))
        assert caught.value.code is FailureCode.IMAGE_INVALID


class TestReading:
    def failure(self, root: Path, limits: ImageLimits = LIMITS) -> ScanFailure:
        with pytest.raises(ScanFailure) as caught:
            read_image(root, limits)
        assert str(root) not in caught.value.message
        return caught.value

    def test_no_layout(self, tmp_path: Path) -> None:
        assert self.failure(tmp_path).code is FailureCode.IMAGE_INVALID

    def test_several_manifests(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"a": image(), "b": image(layer({"a": b"1"}))})
        assert "exactly one" in self.failure(tmp_path).message

    def test_an_index_in_place_of_a_manifest(self, tmp_path: Path) -> None:
        assert self.failure(write_layout(tmp_path, index(image()))).code is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("part", ["manifest", "config"])
    def test_t50_documents_changed_on_disk(self, tmp_path: Path, part: str) -> None:
        built = image(layer({"a": b"1"}))
        write_layout(tmp_path, built)
        data = getattr(built, part)
        path = tmp_path / "blobs" / digest_of(data).replace(":", "/")
        path.write_bytes(data.replace(b"linux", b"lunix") if part == "config" else data + b" ")
        assert self.failure(tmp_path).code is FailureCode.DIGEST_MISMATCH

    def test_t50_truncated_layer(self, tmp_path: Path) -> None:
        built = image(layer({"a": b"1"}))
        write_layout(tmp_path, built)
        path = tmp_path / "blobs" / built.layers[0].digest.replace(":", "/")
        path.write_bytes(built.layers[0].blob[:-1])
        assert self.failure(tmp_path).code is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"manifests":{}}', b'{"manifests":[1]}', b"\xff"])
    def test_broken_index(self, tmp_path: Path, raw: bytes) -> None:
        write_layout(tmp_path, image())
        (tmp_path / "index.json").write_bytes(raw)
        assert self.failure(tmp_path).code is FailureCode.IMAGE_INVALID

    def test_t50_index_too_large(self, tmp_path: Path) -> None:
        write_layout(tmp_path, image())
        (tmp_path / "index.json").write_bytes(orjson.dumps({"manifests": [], "x": "x" * 1000}))
        assert self.failure(tmp_path, ImageLimits(manifest_bytes=900)).code is FailureCode.LIMIT_EXCEEDED

    def test_t50_config_too_large(self, tmp_path: Path) -> None:
        write_layout(tmp_path, image(config={"Labels": {"x": "x" * 5000}}))
        assert self.failure(tmp_path, ImageLimits(manifest_bytes=4000)).code is FailureCode.LIMIT_EXCEEDED

    def test_encoding_of_the_factory_is_what_is_read(self, tmp_path: Path) -> None:
        built = image(layer({"a": b"1"}), docker=True)
        found = read_image(write_layout(tmp_path, built), LIMITS)
        assert encode(dict(found.config)) == built.config
        assert found.media_type == built.media_type


def test_what_an_image_says_can_be_stored(tmp_path: Path) -> None:
    """PostgreSQL takes no NUL in text, and JSON may hold one."""
    built = image(
        layer({"a": b""}, created_by="RUN \x00"),
        config={"User": "a\x00b", "Cmd": ["\x00"], "Env": ["A\x00=1"], "Labels": {"k\x00": "v\x00"}},
    )
    read = read_image(write_layout(tmp_path / "layout", built), LIMITS)
    assert read.layers[0].created_by == "RUN \N{REPLACEMENT CHARACTER}"
    assert "\\u0000" not in json.dumps(read.summary)
    assert read.summary["user"] == "a\N{REPLACEMENT CHARACTER}b"
