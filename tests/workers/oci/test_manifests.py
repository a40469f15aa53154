"""From an index to the one manifest of a platform."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import (
    CONFIG_OCI,
    INDEX_OCI,
    LAYER_OCI,
    MANIFEST_OCI,
    Image,
    Index,
    attestation,
    describe,
    digest_of,
    encode,
    image,
    index,
    layer,
)
from workers.oci.limits import ImageLimits
from workers.oci.manifests import Descriptor, Manifest, Platform, answer, choose_manifest

LIMITS = ImageLimits()
AMD64 = image(layer({"arch": b"amd64"}))
ARM64 = image(layer({"arch": b"arm64"}), platform="linux/arm64/v8")
ARMV7 = image(layer({"arch": b"arm7"}), platform="linux/arm/v7")
ARMV6 = image(layer({"arch": b"arm6"}), platform="linux/arm/v6")


def choose(root: Image | Index, platform: str | None = None, limits: ImageLimits = LIMITS) -> Manifest:
    return answer(
        choose_manifest(root.manifest, platform=platform, limits=limits), lambda wanted: root.blobs[wanted.digest]
    )


def failure(root: Image | Index, platform: str | None = None, limits: ImageLimits = LIMITS) -> ScanFailure:
    with pytest.raises(ScanFailure) as caught:
        choose(root, platform, limits)
    return caught.value


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        (None, AMD64),
        ("linux/amd64", AMD64),
        ("LINUX/x86_64", AMD64),
        ("linux/amd64/v1", AMD64),
        ("linux/arm64", ARM64),
        ("linux/arm64/v8", ARM64),
        ("linux/aarch64", ARM64),
        ("linux/arm", ARMV7),
        ("linux/arm/v6", ARMV6),
    ],
)
def test_the_platform_decides(platform: str | None, expected: Image) -> None:
    several = index(ARMV6, ARM64, AMD64, ARMV7)
    assert choose(several, platform).digest == expected.digest
    assert choose(index(several), platform).digest == expected.digest


def test_a_variant_that_is_not_said_may_be_any() -> None:
    silent = image(layer({"arch": b"arm"}), platform="linux/arm")
    assert choose(index(silent, ARMV6), "linux/arm/v6").digest == ARMV6.digest
    assert choose(index(silent, ARMV6), "linux/arm/v7").digest == silent.digest
    assert failure(index(ARMV6), "linux/arm/v7").code is FailureCode.PLATFORM_NOT_FOUND


def test_docker_media_types_are_read_alike() -> None:
    docker = image(layer({"a": b"1"}), docker=True)
    chosen = choose(index(docker, docker=True))
    assert (chosen.digest, chosen.media_type) == (docker.digest, docker.media_type)
    assert [each.digest for each in chosen.layers] == [docker.layers[0].digest]


def test_a_manifest_needs_no_choice() -> None:
    search = choose_manifest(ARM64.manifest, platform="linux/amd64", limits=LIMITS)
    with pytest.raises(StopIteration) as stop:
        next(search)
    assert stop.value.value.digest == ARM64.digest


def test_without_a_wish_the_only_one_will_do() -> None:
    assert choose(index(ARM64)).digest == ARM64.digest
    assert choose(index(ARM64, attestation(ARM64))).digest == ARM64.digest


def test_missing_platforms_are_listed() -> None:
    found = failure(index(ARMV7, ARM64, attestation(ARM64)))
    assert found.code is FailureCode.PLATFORM_NOT_FOUND
    assert found.message == "There is no image for linux/amd64; the platforms there are: linux/arm/v7, linux/arm64"
    assert failure(index(AMD64), "linux/s390x").code is FailureCode.PLATFORM_NOT_FOUND
    assert failure(index()).message.endswith("the platforms there are: none")
    many = index(*(image(platform=f"linux/cpu{number}") for number in range(30)))
    assert failure(many).message.endswith("and 10 more")


@pytest.mark.parametrize("platform", ["", "linux", "linux/", "linux/amd64/v1/x", "linux/a md64", "../..", "a/b;c"])
def test_what_is_no_platform_is_refused(platform: str) -> None:
    assert failure(index(AMD64), platform).code is FailureCode.PLATFORM_NOT_FOUND


def test_manifests_that_are_not_available_do_not_count() -> None:
    both = index(AMD64, ARM64)
    search = choose_manifest(
        both.manifest, platform=None, limits=LIMITS, available=lambda digest: digest == ARM64.digest
    )
    assert answer(search, lambda wanted: both.blobs[wanted.digest]).digest == ARM64.digest


def test_other_artifacts_in_an_index_are_passed_over() -> None:
    document = json.loads(index(ARM64).manifest)
    document["manifests"] += [
        describe(b"{}", "application/vnd.cncf.helm.config.v1+json"),
        describe(b"{}", MANIFEST_OCI) | {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
    ]
    listed = Index(manifest=encode(document), media_type=INDEX_OCI, members=(ARM64,))
    assert choose(listed).digest == ARM64.digest


def test_the_first_of_equal_platforms_is_taken() -> None:
    other = image(layer({"arch": b"also amd64"}))
    assert choose(index(other, AMD64)).digest == other.digest


def test_a_manifest_without_a_platform_is_taken_if_it_is_the_only_one() -> None:
    def listed(*images: Image) -> Index:
        descriptors = [describe(each.manifest, each.media_type) for each in images]
        raw = encode({"schemaVersion": 2, "manifests": descriptors})
        return Index(manifest=raw, media_type=INDEX_OCI, members=images)

    assert choose(listed(ARM64), "linux/amd64").digest == ARM64.digest
    assert "one without a platform" in failure(listed(ARM64, AMD64)).message


def test_t50_index_depth() -> None:
    assert failure(index(index(index(AMD64)))).code is FailureCode.LIMIT_EXCEEDED
    assert choose(index(index(index(AMD64))), limits=ImageLimits(index_depth=3)).digest == AMD64.digest


def test_t50_cyclic_index() -> None:
    """A digest cannot be part of its own bytes, so whoever serves a cycle serves other bytes than the digest says."""
    outer = encode({"manifests": [describe(b"inner", INDEX_OCI)]})
    inner = encode({"manifests": [describe(outer, INDEX_OCI)]})
    with pytest.raises(ScanFailure) as caught:
        answer(choose_manifest(outer, platform=None, limits=LIMITS), lambda _wanted: inner)
    assert caught.value.code is FailureCode.DIGEST_MISMATCH


def test_t50_index_of_too_many_indexes() -> None:
    assert failure(index(*(index(image(platform=f"linux/c{n}")) for n in range(60)))).code is FailureCode.LIMIT_EXCEEDED


def test_t50_wrong_digest_of_a_manifest() -> None:
    with pytest.raises(ScanFailure) as caught:
        answer(choose_manifest(index(AMD64).manifest, platform=None, limits=LIMITS), lambda _wanted: ARM64.manifest)
    assert caught.value.code is FailureCode.DIGEST_MISMATCH


def test_t50_manifest_too_large() -> None:
    small = ImageLimits(manifest_bytes=600)
    padded = image(annotations={"padding": "x" * 600})
    assert failure(padded, limits=small).code is FailureCode.LIMIT_EXCEEDED
    assert failure(index(padded), limits=small).code is FailureCode.LIMIT_EXCEEDED
    large_config = image(config={"Labels": {"padding": "x" * 600}})
    assert "config" in failure(large_config, limits=small).message


def test_t50_too_many_layers() -> None:
    tall = image(*[layer({"a": b"1"})] * 201)
    assert failure(tall).code is FailureCode.LIMIT_EXCEEDED
    assert failure(image(layer({"a": b"1" * 5000}, compression="none")), limits=ImageLimits(total_bytes=4000)).code is (
        FailureCode.LIMIT_EXCEEDED
    )


def manifest_with(**changes: Any) -> Image:
    document = json.loads(AMD64.manifest) | changes
    return Image(
        layers=AMD64.layers, config=AMD64.config, manifest=encode(document), media_type=MANIFEST_OCI, platform={}
    )


_CONFIG = describe(AMD64.config, CONFIG_OCI)
_LAYER = describe(AMD64.layers[0].blob, LAYER_OCI["gzip"])


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ],
)
def test_t50_foreign_layers_are_refused_with_advice(media_type: str) -> None:
    found = failure(manifest_with(layers=[_LAYER, _LAYER | {"mediaType": media_type}]))
    assert found.code is FailureCode.IMAGE_INVALID
    assert "layer 2 is a foreign layer" in found.message
    assert "Windows" in found.message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"layers": [_LAYER | {"mediaType": "application/vnd.in-toto+json"}]}, "not a file system layer"),
        ({"layers": None}, "list of layers"),
        ({"layers": {}}, "list of layers"),
        ({"layers": [None]}, "layer 1"),
        ({"layers": [_LAYER | {"digest": "sha256:../../etc/passwd"}]}, "digest"),
        ({"layers": [_LAYER | {"digest": "md5:" + "0" * 32}]}, "digest"),
        ({"layers": [_LAYER | {"digest": None}]}, "digest"),
        ({"layers": [_LAYER | {"size": -1}]}, "size"),
        ({"layers": [_LAYER | {"size": True}]}, "size"),
        ({"layers": [_LAYER | {"size": "1"}]}, "size"),
        ({"layers": [_LAYER | {"size": 1.5}]}, "size"),
        ({"layers": [_LAYER | {"size": 1 << 63}]}, "size"),
        ({"layers": [_LAYER | {"mediaType": 1}]}, "media type"),
        ({"config": None}, "config"),
        ({"config": _CONFIG | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "not a container image"),
        ({"config": _CONFIG | {"mediaType": "application/vnd.oci.empty.v1+json"}}, "not a container image"),
        ({"manifests": []}, "neither"),
        ({"mediaType": INDEX_OCI}, "neither"),
    ],
)
def test_malformed_manifests_are_refused(changes: dict[str, Any], part: str) -> None:
    found = failure(manifest_with(**changes))
    assert found.code is FailureCode.IMAGE_INVALID
    assert part in found.message


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{}", b"{", b"\xff", b'{"schemaVersion":1}', b"[" * 5000])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ScanFailure) as caught:
        Manifest.parse(raw, LIMITS)
    assert caught.value.code is FailureCode.IMAGE_INVALID


def test_schema_1_is_refused_with_advice() -> None:
    with pytest.raises(ScanFailure, match="push it again"):
        Manifest.parse(b'{"schemaVersion": 1, "fsLayers": []}', LIMITS)


def test_descriptors_are_verified_by_digest_and_size() -> None:
    descriptor = Descriptor.parse({"mediaType": "x", "digest": digest_of(b"data", "sha512"), "size": 4}, "it")
    descriptor.verify(b"data")
    for wrong in (b"date", b"dat", b"data!"):
        with pytest.raises(ScanFailure) as caught:
            descriptor.verify(wrong)
        assert caught.value.code is FailureCode.DIGEST_MISMATCH


def test_malformed_platforms_and_annotations_say_nothing() -> None:
    plain = {"mediaType": "x", "digest": digest_of(b""), "size": 0}
    malformed: list[Any] = [
        None,
        [],
        {"os": 1, "architecture": "a"},
        {"os": "linux"},
        {"os": "a b", "architecture": "c"},
    ]
    for platform in malformed:
        assert Descriptor.parse(plain | {"platform": platform}, "it").platform is None
    odd = Descriptor.parse(plain | {"platform": {"os": "linux", "architecture": "arm", "variant": "v 7"}}, "it")
    assert odd.platform == Platform(os="linux", architecture="arm")
    assert Descriptor.parse(plain | {"annotations": {"a": "1", "b": 2}}, "it").annotations == {"a": "1"}
    assert Descriptor.parse(plain | {"annotations": [1]}, "it").annotations == {}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "annotations"]
)


@settings(deadline=None)
@given(st.data())
def test_mutated_documents_end_in_a_scan_failure_or_a_manifest(data: st.DataObject) -> None:
    roots: list[Image | Index] = [AMD64, index(AMD64, ARM64), index(index(AMD64))]
    root = data.draw(st.sampled_from(roots))
    document = json.loads(root.manifest)
    target = document
    while data.draw(st.booleans()):
        nested = [each for each in target.values() if isinstance(each, dict)]
        nested += [each[0] for each in target.values() if isinstance(each, list) and each and isinstance(each[0], dict)]
        if not nested:
            break
        target = data.draw(st.sampled_from(nested))
    target[data.draw(_KEYS)] = data.draw(_JSON)
    mutated = Index(manifest=encode(document), media_type=INDEX_OCI, members=(AMD64, ARM64, index(AMD64)))
    try:
        answer(
            choose_manifest(mutated.manifest, platform=None, limits=LIMITS),
            lambda wanted: mutated.blobs.get(wanted.digest, b""),
        )
    except ScanFailure as expected:
        assert expected.message  # noqa: PT017 -- any other exception fails the test
