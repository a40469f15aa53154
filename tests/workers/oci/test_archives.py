"""Copying an image out of whatever file or directory it comes in."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import (
    INDEX_OCI,
    Compression,
    Files,
    Hardlink,
    Index,
    Symlink,
    compress,
    describe,
    digest_of,
    docker_files,
    encode,
    hybrid_files,
    image,
    index,
    layer,
    layout_files,
    tar,
    write_archive,
    write_layout,
)
from workers.oci.archives import open_source
from workers.oci.layers import merge_layers
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits

LIMITS = ImageLimits()
BASE, TOP = layer({"a": b"1", "b": b"2"}, created_by="ADD"), layer({"a": b"3"}, compression="zstd")
PLAIN = layer({"p": b"plain"}, compression="none")
BUILT = image(BASE, TOP, PLAIN)
OTHER = image(layer({"other": b"1"}))


class Opener:
    """Opens sources from one place into another and looks at what came of it."""

    def __init__(self, root: Path) -> None:
        self.source = root / "source"
        self.destination = root / "destination"

    def __call__(
        self, *, platform: str | None = None, reference: str | None = None, limits: ImageLimits = LIMITS
    ) -> Image:
        before = {path for path in self.source.parent.rglob("*") if not path.is_relative_to(self.destination)}
        try:
            return open_source(self.source, self.destination, platform=platform, limits=limits, reference=reference)
        finally:
            after = {path for path in self.source.parent.rglob("*") if not path.is_relative_to(self.destination)}
            assert after - {self.destination} == before - {self.destination}
            assert not list(self.destination.glob("partial-*"))

    def fails(
        self, *, platform: str | None = None, reference: str | None = None, limits: ImageLimits = LIMITS
    ) -> ScanFailure:
        with pytest.raises(ScanFailure) as caught:
            self(platform=platform, reference=reference, limits=limits)
        assert str(self.source.parent) not in caught.value.message
        return caught.value


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path)


def contents(opened: Image) -> dict[str, bytes]:
    merged = merge_layers(opened.layout, wanted=lambda _path: True, limits=LIMITS)
    return {path: file.content for path, file in merged.files.items()}


MERGED = {"a": b"3", "b": b"2", "p": b"plain"}


class TestLayouts:
    def test_a_directory(self, opener: Opener) -> None:
        write_layout(opener.source, {"acme/api:1": BUILT})
        opened = opener()
        assert contents(opened) == MERGED
        assert (opened.digest, opened.names) == (BUILT.digest, ("acme/api:1",))
        assert read_image(opener.destination, LIMITS).digest == BUILT.digest
        assert [each.created_by for each in opened.layers] == ["ADD", "", ""]

    @pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
    def test_an_archive(self, opener: Opener, compression: Compression) -> None:
        write_archive(opener.source, layout_files(BUILT), compression=compression)
        opened = opener()
        assert contents(opened) == MERGED
        assert (opened.digest, opened.names) == (BUILT.digest, ())

    def test_only_what_the_image_needs_is_copied(self, opener: Opener) -> None:
        write_layout(opener.source, {"a": BUILT, "b": OTHER})
        opener(reference="b")
        blobs = {path.name for path in (opener.destination / "blobs/sha256").iterdir()}
        assert blobs == {digest.removeprefix("sha256:") for digest in OTHER.blobs}

    def test_containerd_names_win_over_bare_tags(self, opener: Opener) -> None:
        files = layout_files({"1.27": BUILT})
        listed = json.loads(files["index.json"])
        listed["manifests"][0]["annotations"]["io.containerd.image.name"] = "docker.io/library/nginx:1.27"
        write_archive(opener.source, {**files, "index.json": encode(listed)})
        assert opener(reference="nginx:1.27").names == ("docker.io/library/nginx:1.27",)

    def test_platforms(self, opener: Opener) -> None:
        arm = image(layer({"arm": b"1"}), platform="linux/arm64")
        write_layout(opener.source, index(BUILT, arm))
        assert opener().digest == BUILT.digest
        assert opener(platform="linux/arm64").digest == arm.digest
        assert opener.fails(platform="linux/s390x").code is FailureCode.PLATFORM_NOT_FOUND

    def test_platforms_listed_at_the_top(self, opener: Opener) -> None:
        arm = image(layer({"arm": b"1"}), platform="linux/arm64")
        files = layout_files({"x": BUILT, "y": arm})
        listed = json.loads(files["index.json"])
        for each in listed["manifests"]:
            del each["annotations"]
        write_archive(opener.source, {**files, "index.json": encode(listed)})
        assert opener(platform="linux/arm64").digest == arm.digest
        assert opener().digest == BUILT.digest

    def test_platforms_that_were_not_saved_do_not_count(self, opener: Opener) -> None:
        """`docker save` of an image from containerd's store keeps the whole index and one platform's blobs."""
        arm = image(layer({"arm": b"1"}), platform="linux/arm64")
        files = layout_files(index(BUILT, arm))
        for digest in BUILT.blobs:
            del files[f"blobs/{digest.replace(':', '/')}"]
        write_archive(opener.source, files)
        assert opener().digest == arm.digest
        assert opener.fails(platform="linux/amd64").message.endswith("the platforms there are: linux/arm64")

    def test_one_image_with_two_names(self, opener: Opener) -> None:
        write_layout(opener.source, {"a:1": image(platform="linux/arm64"), "a:2": image(platform="linux/arm64")})
        assert opener().names == ("a:1", "a:2")

    def test_several_images_need_a_name(self, opener: Opener) -> None:
        write_layout(opener.source, {"acme/api:1": BUILT, "acme/web:1": OTHER})
        found = opener.fails()
        assert found.code is FailureCode.IMAGE_NOT_FOUND
        assert "acme/api:1, acme/web:1" in found.message
        assert opener(reference="docker.io/acme/web:1").digest == OTHER.digest
        missing = opener.fails(reference="acme/api:2")
        assert missing.code is FailureCode.IMAGE_NOT_FOUND
        assert "acme/api:1, acme/web:1" in missing.message

    def test_names_that_cannot_be_one_are_left_out(self, opener: Opener) -> None:
        write_layout(opener.source, {"no name\n\x1b[31m": BUILT})
        assert opener().names == ()


class TestDockerArchives:
    @pytest.mark.parametrize("layers", ["none", "gzip", "zstd"])
    @pytest.mark.parametrize("compression", ["none", "gzip"])
    def test_what_docker_and_podman_save(self, opener: Opener, layers: Compression, compression: Compression) -> None:
        write_archive(opener.source, docker_files({"acme/api:1": BUILT}, compression=layers), compression=compression)
        opened = opener()
        assert contents(opened) == MERGED
        assert opened.names == ("acme/api:1",)
        assert opened.config_digest == digest_of(BUILT.config)
        assert [each.diff_id for each in opened.layers] == [each.diff_id for each in BUILT.layers]
        assert read_image(opener.destination, LIMITS).digest == opened.digest

    def test_hybrid_archives_keep_the_manifest(self, opener: Opener) -> None:
        write_archive(opener.source, hybrid_files({"acme/api:1": BUILT}))
        assert (opener().digest, opener().names) == (BUILT.digest, ("acme/api:1",))

    def test_without_a_name(self, opener: Opener) -> None:
        write_archive(opener.source, docker_files(BUILT))
        assert opener().names == ()

    def test_several_images_need_a_name(self, opener: Opener) -> None:
        write_archive(opener.source, docker_files({"nginx:1": BUILT, "redis:7": OTHER}))
        assert "nginx:1, redis:7" in opener.fails().message
        assert contents(opener(reference="redis:7")) == {"other": b"1"}

    def test_several_images_without_names_cannot_be_told_apart(self, opener: Opener) -> None:
        files = docker_files({"a": BUILT, "b": OTHER})
        listed = [each | {"RepoTags": None} for each in json.loads(files["manifest.json"])]
        write_archive(opener.source, {**files, "manifest.json": encode(listed)})
        assert opener.fails().code is FailureCode.IMAGE_NOT_FOUND

    def test_a_layer_that_is_a_link_to_an_equal_one(self, opener: Opener) -> None:
        same = image(BASE, BASE)
        files: dict[str, bytes | Symlink] = dict(docker_files(same))
        member = f"{BASE.diff_id.removeprefix('sha256:')}/layer.tar"
        listed = json.loads(docker_files(same)["manifest.json"])
        listed[0]["Layers"][1] = "second/layer.tar"
        write_archive(
            opener.source,
            {**files, "manifest.json": encode(listed), "second/layer.tar": Symlink(f"../{member}")},
        )
        assert contents(opener()) == {"a": b"1", "b": b"2"}

    def test_an_archive_that_was_unpacked(self, opener: Opener) -> None:
        for name, data in docker_files({"acme/api:1": BUILT}).items():
            (opener.source / name).parent.mkdir(parents=True, exist_ok=True)
            (opener.source / name).write_bytes(data)
        assert contents(opener()) == MERGED
        (opener.source / f"{BASE.diff_id.removeprefix('sha256:')}/layer.tar").unlink()
        assert opener.fails().code is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("layers", ["none", "gzip"])
    def test_t50_wrong_diff_id(self, opener: Opener, layers: Compression) -> None:
        files = docker_files(BUILT, compression=layers)
        member = f"{BASE.diff_id.removeprefix('sha256:')}/layer.tar"
        write_archive(opener.source, {**files, member: compress(TOP.tar, layers)})
        assert opener.fails().code is FailureCode.DIGEST_MISMATCH

    @pytest.mark.parametrize(
        "change",
        [
            [],
            {},
            [1],
            [{}],
            [{"Config": 1, "Layers": []}],
            [{"Config": "../../etc/passwd", "Layers": []}],
            [{"Config": "/etc/passwd", "Layers": []}],
            [{"Config": "none.json", "Layers": []}],
            [{"Config": "a\0b", "Layers": []}],
        ],
    )
    def test_malformed_manifests(self, opener: Opener, change: object) -> None:
        files = docker_files(BUILT)
        write_archive(opener.source, {**files, "manifest.json": json.dumps(change).encode()})
        assert opener.fails().code in {FailureCode.IMAGE_INVALID, FailureCode.IMAGE_NOT_FOUND}

    @pytest.mark.parametrize(
        "layers", [None, "x", [], [1, 2, 3], ["a", "b", "c"], ["../a", "b", "c"], ["", "", ""], ["a"] * 201]
    )
    def test_malformed_layer_lists(self, opener: Opener, layers: object) -> None:
        files = docker_files(BUILT)
        listed = [each | {"Layers": layers} for each in json.loads(files["manifest.json"])]
        write_archive(opener.source, {**files, "manifest.json": encode(listed)})
        assert opener.fails().code in {FailureCode.IMAGE_INVALID, FailureCode.LIMIT_EXCEEDED}


class TestRefusals:
    def test_nothing_there(self, opener: Opener) -> None:
        assert opener.fails().code is FailureCode.IMAGE_NOT_FOUND

    def test_an_empty_directory(self, opener: Opener) -> None:
        opener.source.mkdir()
        assert opener.fails().code is FailureCode.IMAGE_INVALID

    def test_an_empty_layout(self, opener: Opener) -> None:
        opener.source.mkdir()
        (opener.source / "oci-layout").write_bytes(b"{}")
        (opener.source / "index.json").write_bytes(b'{"manifests":[]}')
        assert opener.fails().code is FailureCode.IMAGE_NOT_FOUND

    @pytest.mark.parametrize("raw", [b"", b"text", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04" * 200, bytes(2048)])
    def test_what_is_no_archive(self, opener: Opener, raw: bytes) -> None:
        opener.source.write_bytes(raw)
        assert opener.fails().code is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("magic", [b"BZh91AY", b"\xfd7zXZ\x00\x00"])
    def test_other_compressions_are_named(self, opener: Opener, magic: bytes) -> None:
        opener.source.write_bytes(magic + bytes(600))
        assert "gzip, zstd and uncompressed" in opener.fails().message

    def test_a_fifo(self, opener: Opener) -> None:
        os.mkfifo(opener.source)
        assert opener.fails().code is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("name", ["index.json", "oci-layout"])
    def test_t50_a_layout_does_not_escape_by_a_link(self, opener: Opener, name: str) -> None:
        write_layout(opener.source, BUILT)
        secret = opener.source.parent / "secret"
        (opener.source / name).rename(secret)
        (opener.source / name).symlink_to(secret)
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE

    @pytest.mark.parametrize("linked", ["blobs", "blobs/sha256"])
    def test_t50_a_layout_does_not_escape_by_a_linked_directory(self, opener: Opener, linked: str) -> None:
        write_layout(opener.source, BUILT)
        elsewhere = opener.source.parent / "elsewhere"
        (opener.source / linked).rename(elsewhere)
        (opener.source / linked).symlink_to(elsewhere)
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE

    def test_t50_a_blob_that_is_a_link_or_a_fifo(self, opener: Opener) -> None:
        write_layout(opener.source, BUILT)
        blob = opener.source / "blobs" / BASE.digest.replace(":", "/")
        blob.rename(blob.with_name("moved"))
        blob.symlink_to(blob.with_name("moved"))
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE
        blob.unlink()
        os.mkfifo(blob)
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE
        blob.unlink()
        blob.mkdir()
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE

    def test_a_file_in_place_of_a_directory(self, opener: Opener) -> None:
        opener.source.mkdir()
        files = layout_files(BUILT)
        for name in ("index.json", "oci-layout"):
            (opener.source / name).write_bytes(files[name])
        (opener.source / "blobs").write_bytes(b"")
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE

    @pytest.mark.parametrize(
        "extra",
        [
            [("../outside", b"x")],
            [("/etc/passwd", b"x")],
            [("a/../../outside", b"x")],
            [("link", Symlink("/etc/passwd"))],
            [("link", Symlink("../outside"))],
            [("a/link", Symlink("../../outside"))],
            [("link", Hardlink("../outside"))],
            [("link", Hardlink("/etc/passwd"))],
            [("link", Symlink(""))],
            [("", Symlink("target"))],
        ],
    )
    def test_t50_archives_with_names_that_lead_outside(self, opener: Opener, extra: Files) -> None:
        write_archive(opener.source, [*layout_files(BUILT).items(), *extra])
        assert opener.fails().code is FailureCode.UNSAFE_ARCHIVE

    def test_t50_symlink_then_write_in_an_archive_reads_nothing_elsewhere(self, opener: Opener) -> None:
        """The blob behind a linked directory is simply not found: names are looked up, links not walked through."""
        files = layout_files(BUILT)
        moved = [(name.replace("blobs/", "real/"), data) for name, data in files.items()]
        write_archive(opener.source, [("blobs", Symlink("real")), *moved])
        assert opener.fails().code is FailureCode.IMAGE_NOT_FOUND

    @pytest.mark.parametrize("document", ["manifest", "config", "layer"])
    def test_t50_wrong_digest(self, opener: Opener, document: str) -> None:
        files = layout_files(BUILT)
        digest = {"manifest": BUILT.digest, "config": digest_of(BUILT.config), "layer": TOP.digest}[document]
        name = f"blobs/{digest.replace(':', '/')}"
        flipped = bytes([files[name][0] ^ 1])
        write_archive(opener.source, {**files, name: flipped + files[name][1:]})
        assert opener.fails().code is FailureCode.DIGEST_MISMATCH
        write_archive(opener.source, {**files, name: files[name][:-1]})
        assert opener.fails().code is FailureCode.DIGEST_MISMATCH
        write_archive(opener.source, {path: data for path, data in files.items() if path != name})
        assert opener.fails().code in {FailureCode.IMAGE_INVALID, FailureCode.IMAGE_NOT_FOUND}

    def test_t50_truncated(self, opener: Opener) -> None:
        whole = tar(layout_files(BUILT))
        for compression in ("none", "gzip", "zstd"):
            packed = compress(whole, compression)
            opener.source.write_bytes(packed[: len(packed) // 2])
            assert opener.fails().code is FailureCode.IMAGE_INVALID

    def test_t50_cyclic_index(self, opener: Opener) -> None:
        cycle = digest_of(b"an index that names itself")
        raw = encode({"manifests": [{"mediaType": INDEX_OCI, "digest": cycle, "size": 200}]})
        looping = Index(manifest=raw, media_type=INDEX_OCI, members=())
        files = layout_files(looping)
        files[f"blobs/{cycle.replace(':', '/')}"] = raw
        files["index.json"] = encode({"manifests": [describe(raw, INDEX_OCI) | {"digest": cycle}]})
        write_archive(opener.source, files)
        assert opener.fails().code is FailureCode.DIGEST_MISMATCH

    def test_t50_index_depth(self, opener: Opener) -> None:
        write_archive(opener.source, layout_files(index(index(BUILT))))
        assert opener.fails().code is FailureCode.LIMIT_EXCEEDED

    def test_t50_archives_in_archives(self, opener: Opener) -> None:
        packed = tar(layout_files(BUILT))
        for _ in range(2):
            packed = compress(packed, "gzip")
        opener.source.write_bytes(packed)
        assert opener().digest == BUILT.digest
        opener.source.write_bytes(compress(packed, "zstd"))
        assert opener.fails().code is FailureCode.LIMIT_EXCEEDED

    def test_t50_gzip_of_zeros(self, opener: Opener) -> None:
        opener.source.write_bytes(compress(bytes(8 << 20), "gzip"))
        small = ImageLimits(ratio_grace_bytes=1 << 20)
        assert opener.fails(limits=small).code is FailureCode.LIMIT_EXCEEDED
        assert opener.fails(limits=ImageLimits(total_bytes=4 << 20)).code is FailureCode.LIMIT_EXCEEDED

    @pytest.mark.parametrize(
        "limits", [ImageLimits(entries=3), ImageLimits(memory_bytes=500), ImageLimits(total_bytes=200)]
    )
    def test_t50_limits_of_archives(self, opener: Opener, limits: ImageLimits) -> None:
        for files in (layout_files(BUILT), docker_files(BUILT)):
            write_archive(opener.source, files)
            assert opener.fails(limits=limits).code is FailureCode.LIMIT_EXCEEDED

    def test_t50_duplicate_names_last_wins(self, opener: Opener) -> None:
        files = layout_files(BUILT)
        write_archive(opener.source, [("index.json", b"broken"), ("oci-layout", Symlink("x")), *files.items()])
        assert opener().digest == BUILT.digest

    def test_a_platform_no_image_is_for(self, opener: Opener) -> None:
        write_archive(opener.source, docker_files(image(platform="linux/arm64")))
        assert opener.fails(platform="linux/amd64").code is FailureCode.PLATFORM_NOT_FOUND
        assert opener().platform == "linux/arm64"


def test_members_in_every_dialect(opener: Opener) -> None:
    for style in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        opener.source.write_bytes(tar(layout_files(BUILT), style=style))
        assert opener().digest == BUILT.digest


@pytest.mark.parametrize("build", [layout_files, docker_files])
def test_names_may_start_with_a_dot(opener: Opener, build: Callable[..., dict[str, bytes]]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in build(BUILT).items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    opener.source.write_bytes(buffer.getvalue())
    assert contents(opener()) == MERGED
