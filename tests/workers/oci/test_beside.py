"""Finding signed statements beside an image, wherever they are filed, in registries that lie and in a real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.images.reference import ImageReference
from schema.scans.failures import FailureCode, ScanFailure
from tests.distribution import PROGRAM, push, push_artifact, running
from tests.factories import images
from tests.factories.images import index, layer
from tests.factories.statements import (
    BUNDLE,
    ENVELOPE,
    MANIFEST,
    envelope,
    holder,
    new_key,
    referring,
    statement,
)
from tests.simulators.registry import (
    RegistrySimulator,
    Stage,
    altered,
    answering,
    longer,
    resolve_to_loopback,
    serving,
)
from workers.oci.beside import MAX_STATEMENTS, Beside, envelopes_beside
from workers.oci.client import Patience
from workers.oci.limits import ImageLimits
from workers.oci.registry import digest_of

APP = images.image(layer({"etc/os-release": b"ID=debian\n"}), docker=True)
MULTI = index(APP, images.image(layer({"arm": b"64"}), platform="linux/arm64"))
KEY = new_key()
SIGNED = envelope(statement(APP.digest), KEY)
CONTENT = json.dumps(SIGNED).encode()
QUICK = Patience(attempts=2, first_pause_seconds=0.01)
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def tag_of(digest: str, suffix: str = ".att") -> str:
    return digest.replace(":", "-") + suffix


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture
def registry(stage: Stage) -> RegistrySimulator:
    registry = stage.new_registry()
    registry.add("team/app", APP, "1")
    registry.add("team/multi", MULTI, "1")
    return registry


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[OutgoingClient]:
    policy = OutgoingPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))
    async with OutgoingClient(policy, resolve=resolve_to_loopback) as client:
        yield client


def put(registry: RegistrySimulator, name: str, manifest: bytes, blobs: dict[str, bytes], repository: str) -> None:
    registry.put_manifest(repository, name, manifest, media_type=MANIFEST)
    registry.put_manifest(repository, digest_of(manifest), manifest, media_type=MANIFEST)
    registry.put_blobs(repository, blobs)


async def look(
    http: OutgoingClient, registry: RegistrySimulator | str, name: str = "team/app:1", digest: str = APP.digest
) -> Beside:
    host = registry if isinstance(registry, str) else registry.host
    return await envelopes_beside(
        ImageReference.parse(f"{host}/{name}"),
        digest,
        credentials=None,
        http=http,
        limits=ImageLimits(),
        insecure=True,
        patience=QUICK,
    )


def contents(found: Beside) -> list[bytes]:
    return [each.content for each in found.envelopes]


async def test_there_may_be_none(http: OutgoingClient, registry: RegistrySimulator) -> None:
    found = await look(http, registry)
    assert (found.names, contents(found)) == ([APP.digest], [])


async def test_there_may_be_none_where_the_registry_hides_what_is_missing(http: OutgoingClient, stage: Stage) -> None:
    registry = stage.new_registry()
    registry.auth, registry.hides_missing = "bearer", True
    registry.add("team/app", APP, "1")
    assert contents(await look(http, registry)) == []


async def test_where_cosign_tags_them(http: OutgoingClient, registry: RegistrySimulator) -> None:
    second = envelope(statement(APP.digest, predicate_type="https://example.org/other"), KEY)
    put(registry, tag_of(APP.digest), *holder(SIGNED, second), "team/app")
    assert contents(await look(http, registry)) == [CONTENT, json.dumps(second).encode()]


@pytest.mark.parametrize("has_referrers", [True, False])
async def test_what_refers_to_the_image(
    http: OutgoingClient,
    registry: RegistrySimulator,
    has_referrers: bool,  # noqa: FBT001
) -> None:
    manifest, blobs = holder({"dsseEnvelope": SIGNED}, media_type=BUNDLE)
    listed = referring(manifest)
    put(registry, digest_of(manifest), manifest, blobs, "team/app")
    registry.has_referrers = has_referrers
    if has_referrers:
        registry.refer("team/app", APP.digest, listed)
    else:
        registry.put_manifest("team/app", tag_of(APP.digest, ""), listed, media_type=INDEX_TYPE)
    assert contents(await look(http, registry)) == [json.dumps({"dsseEnvelope": SIGNED}).encode()]


async def test_each_is_told_once(http: OutgoingClient, registry: RegistrySimulator) -> None:
    manifest, blobs = holder(SIGNED)
    put(registry, tag_of(APP.digest), manifest, blobs, "team/app")
    registry.put_manifest(
        "team/app", tag_of(APP.digest, ""), referring(manifest, media_type=ENVELOPE), media_type=INDEX_TYPE
    )
    assert contents(await look(http, registry)) == [CONTENT]


async def test_those_of_the_index_count_for_the_images_it_lists(
    http: OutgoingClient, registry: RegistrySimulator
) -> None:
    put(registry, tag_of(MULTI.digest), *holder(SIGNED), "team/multi")
    found = await look(http, registry, "team/multi:1")
    assert found.names == [APP.digest, MULTI.digest]
    assert contents(found) == [CONTENT]


async def test_an_index_that_does_not_list_the_image_is_none_of_its_names(
    http: OutgoingClient, registry: RegistrySimulator
) -> None:
    """A registry that points the tag elsewhere must not lend the image another one's statements."""
    stranger = images.image(layer({"evil": b"1"}))
    registry.add("team/multi", stranger, "evil")
    put(registry, tag_of(MULTI.digest), *holder(SIGNED), "team/multi")
    found = await look(http, registry, "team/multi:1", stranger.digest)
    assert (found.names, contents(found)) == ([stranger.digest], [])


@pytest.mark.parametrize(("asked", "fault"), [("blobs", altered), ("blobs", longer)])
async def test_what_is_not_what_its_digest_says_is_no_statement(
    http: OutgoingClient, registry: RegistrySimulator, asked: Any, fault: Any
) -> None:
    put(registry, tag_of(APP.digest), *holder(SIGNED), "team/app")
    registry.misbehave(asked, fault)
    with pytest.raises(ScanFailure):
        await look(http, registry)


async def test_a_registry_that_is_away_is_not_one_without_statements(
    http: OutgoingClient, registry: RegistrySimulator
) -> None:
    registry.misbehave("manifests", answering(503))
    with pytest.raises(ScanFailure) as raised:
        await look(http, registry)
    assert raised.value.code is FailureCode.REGISTRY_UNREACHABLE


async def test_no_more_are_read_than_anybody_needs(http: OutgoingClient, registry: RegistrySimulator) -> None:
    many = [SIGNED | {"number": number} for number in range(MAX_STATEMENTS + 1)]
    put(registry, tag_of(APP.digest), *holder(*many), "team/app")
    with pytest.raises(ScanFailure) as raised:
        await look(http, registry)
    assert raised.value.code is FailureCode.LIMIT_EXCEEDED
    assert registry.asked("/blobs/") == []


@pytest.mark.parametrize("manifest", [b"[]", b'{"layers": 1}', b'{"layers": [1, {"mediaType": 1}]}', b"{}"])
async def test_a_manifest_of_another_shape_holds_none(
    http: OutgoingClient, registry: RegistrySimulator, manifest: bytes
) -> None:
    registry.put_manifest("team/app", tag_of(APP.digest), manifest, media_type=MANIFEST)
    assert contents(await look(http, registry)) == []


@pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed")
async def test_in_a_real_registry(http: OutgoingClient, tmp_path: Path) -> None:
    manifest, blobs = holder(SIGNED)
    with running(tmp_path) as host, httpx.Client(base_url=f"http://{host}") as registry:
        push(registry, "team/multi", MULTI, "1")
        push_artifact(registry, "team/multi", manifest, blobs, tag_of(MULTI.digest), media_type=MANIFEST)
        found = await look(http, host, "team/multi:1")
    assert (found.names, contents(found)) == ([APP.digest, MULTI.digest], [CONTENT])
