"""Pulling: what a registry may ask for, and what it may do wrong, without ever hanging us or fooling us."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.images.reference import ImageReference
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp, OutgoingResponse
from schema.scans.failures import FailureCode, ScanFailure
from tests.factories import images
from tests.factories.images import attestation, digest_of, index, layer
from tests.simulators.certificates import new_authority
from tests.simulators.registry import (
    Asked,
    Fault,
    RegistrySimulator,
    Stage,
    altered,
    answering,
    cut_short,
    dripping,
    endless,
    hanging,
    huge,
    longer,
    redirecting,
    resolve_to_loopback,
    serving,
    shorter,
    slowly,
)
from workers.oci.client import Patience, RegistryCredentials
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits
from workers.oci.registry import pull, resolve_digest

LIMITS = ImageLimits()
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
HASTY = Patience(total_seconds=20, answer_seconds=5, attempts=3, first_pause_seconds=0.01, longest_pause_seconds=0.05)
ROBOT = RegistryCredentials(username="robot", password="s3cret")
APP = images.image(
    layer({"etc/os-release": b"ID=debian\n" * 50}), layer({"app/main.py": b"print()\n" * 50}, compression="zstd")
)
ARM = images.image(layer({"arm": b"64"}), platform="linux/arm64/v8")
MULTI = index(APP, ARM, attestation(APP))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture(scope="module")
def other_stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture
def registry(stage: Stage) -> RegistrySimulator:
    registry = stage.new_registry()
    registry.add("team/app", APP, "1.0", "latest")
    registry.add("team/multi", MULTI, "1.0")
    return registry


@pytest.fixture
def other(other_stage: Stage) -> RegistrySimulator:
    """Somebody else's server, which has the same content."""
    other = other_stage.new_registry()
    other.add("team/app", APP, "1.0")
    return other


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[OutgoingClient]:
    policy = OutgoingPolicy(allowed_networks=LOOPBACK, silence_seconds=5)
    async with OutgoingClient(policy, resolve=resolve_to_loopback) as client:
        yield client


@pytest.fixture(scope="module")
async def impatient() -> AsyncIterator[OutgoingClient]:
    """Ends a silence after a moment."""
    policy = OutgoingPolicy(allowed_networks=LOOPBACK, silence_seconds=0.1)
    async with OutgoingClient(policy, resolve=resolve_to_loopback) as client:
        yield client


async def fetch(
    registry: RegistrySimulator, http: OutgoingHttp, destination: Path, image: str = "team/app:1.0", **options: Any
) -> Image:
    arguments = {"platform": None, "credentials": None, "limits": LIMITS, "insecure": True, "patience": HASTY}
    reference = ImageReference.parse(f"{registry.host}/{image}")
    return await pull(reference, destination, http=http, **(arguments | options))


@contextmanager
def failing(*codes: FailureCode, saying: str = "") -> Iterator[None]:
    with pytest.raises(ScanFailure) as raised:
        yield
    assert raised.value.code in codes, raised.value.message
    assert saying in raised.value.message
    assert "s3cret" not in repr(raised.value)


def stored(destination: Path) -> set[str]:
    """The digests of the blobs on disk; a partial file would be no blob and fails here."""
    assert not list(destination.glob("partial-*"))
    return {f"{path.parent.name}:{path.name}" for path in destination.glob("blobs/*/*")}


# What works


@pytest.mark.parametrize("content", [APP, images.image(*APP.layers, docker=True)], ids=["oci", "docker"])
async def test_an_image_is_pulled_whole(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, content: images.Image
) -> None:
    registry.add("team/whole", content, "1.0")
    seen: list[tuple[int, int]] = []
    image = await fetch(
        registry, http, tmp_path, "team/whole:1.0", progress=lambda arrived, total: seen.append((arrived, total))
    )
    assert image.digest == content.digest
    assert image == read_image(tmp_path, LIMITS)
    assert stored(tmp_path) == set(content.blobs)
    for digest, data in content.blobs.items():
        assert (tmp_path / "blobs" / digest.replace(":", "/")).read_bytes() == data
    total = len(content.config) + sum(len(each.blob) for each in content.layers)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    accepted = registry.asked("manifests")[0].headers["accept"]
    for media_type in (images.MANIFEST_OCI, images.MANIFEST_DOCKER, images.INDEX_OCI, images.INDEX_DOCKER):
        assert media_type in accepted


async def test_the_tag_is_latest_when_none_is_given(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    await fetch(registry, http, tmp_path, "team/app")
    assert registry.requests[0].path == "/v2/team/app/manifests/latest"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_an_image_is_pulled_by_digest(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, algorithm: str
) -> None:
    digest = digest_of(APP.manifest, algorithm)
    registry.put_manifest("team/app", digest, APP.manifest, media_type=APP.media_type)
    image = await fetch(registry, http, tmp_path, f"team/app:moved@{digest}")
    assert image.digest == APP.digest
    assert registry.requests[0].path.endswith(digest)


@pytest.mark.parametrize(
    ("platform", "expected"), [(None, APP), ("linux/amd64", APP), ("linux/arm64", ARM), ("linux/arm64/v8", ARM)]
)
async def test_an_index_leads_to_the_wanted_platform(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, platform: str | None, expected: images.Image
) -> None:
    image = await fetch(registry, http, tmp_path, "team/multi:1.0", platform=platform)
    assert image.digest == expected.digest
    assert stored(tmp_path) == set(expected.blobs)


async def test_a_platform_that_is_not_there_is_named(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    with failing(FailureCode.PLATFORM_NOT_FOUND, saying="linux/s390x"):
        await fetch(registry, http, tmp_path, "team/multi:1.0", platform="linux/s390x")


async def test_blobs_come_a_few_at_a_time_and_each_once(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    layers = [layer({f"file{number}": b"x"}) for number in range(9)]
    registry.add("team/layers", images.image(*layers, layers[0], layers[0]), "1.0")
    registry.misbehave("blobs", slowly(0.03))
    await fetch(registry, http, tmp_path, "team/layers:1.0")
    asked = [request.path for request in registry.asked("blobs")]
    assert len(asked) == len(set(asked)) == 10
    assert registry.most_blobs_at_once == 3


async def test_memory_is_bounded_however_large_a_layer_is(tmp_path: Path) -> None:
    size = 64 << 20

    class Generated:
        """A registry's answers without a registry: a layer of zeros, made as it is read."""

        def __init__(self, answers: Mapping[str, bytes]) -> None:
            self.answers = answers

        @asynccontextmanager
        async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[OutgoingResponse]:
            known = self.answers.get(url.rpartition("/")[2])

            async def chunks() -> AsyncIterator[bytes]:
                if known is not None:
                    yield known
                else:
                    for _ in range(size >> 16):
                        yield bytes(1 << 16)

            yield OutgoingResponse(url=url, status=200, headers={}, chunks=chunks())

    zeros = images.layer(bytes(size), compression="none")
    content = images.image(zeros)
    answers = {"1.0": content.manifest, digest_of(content.config): content.config}
    digest = content.digest
    del zeros, content
    tracemalloc.start()
    try:
        image = await pull(
            ImageReference.parse("registry.test/zeros:1.0"),
            tmp_path,
            platform=None,
            credentials=None,
            http=Generated(answers),
            limits=LIMITS,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (image.digest, image.size_bytes) == (digest, size)
    assert peak < 16 << 20


class Unreachable:
    """Notes what it is asked for, and fails."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    @asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[OutgoingResponse]:
        self.urls.append(url)
        raise OutgoingError(OutgoingErrorKind.BLOCKED, "could not connect")
        yield  # an async generator


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("nginx", "https://registry-1.docker.io/v2/library/nginx/manifests/latest"),
        ("index.docker.io/acme/app:2", "https://registry-1.docker.io/v2/acme/app/manifests/2"),
        ("ghcr.io/acme/app:2", "https://ghcr.io/v2/acme/app/manifests/2"),
        ("[::1]:5000/app", "https://[::1]:5000/v2/app/manifests/latest"),
    ],
)
async def test_the_address_of_a_manifest(image: str, url: str, tmp_path: Path) -> None:
    http = Unreachable()
    with failing(FailureCode.ADDRESS_BLOCKED, saying=str(ImageReference.parse(image))):
        await pull(ImageReference.parse(image), tmp_path, platform=None, credentials=None, http=http, limits=LIMITS)
    assert http.urls == [url]


# Not there, or not for us


async def test_a_missing_image_is_named(registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path) -> None:
    message = f"Image {registry.host}/team/nope:1 was not found in the registry"
    with failing(FailureCode.IMAGE_NOT_FOUND, saying=message):
        await fetch(registry, http, tmp_path, "team/nope:1")


@pytest.mark.parametrize("credentials", [None, ROBOT])
async def test_a_registry_that_hides_what_is_missing_is_explained(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, credentials: RegistryCredentials | None
) -> None:
    registry.hides_missing = True
    with failing(FailureCode.REGISTRY_UNAUTHORIZED, saying="or there is no such image"):
        await fetch(registry, http, tmp_path, "team/nope:1", credentials=credentials)


async def test_a_forbidden_image_is_unauthorized(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.misbehave("manifests", answering(403))
    with failing(FailureCode.REGISTRY_UNAUTHORIZED):
        await fetch(registry, http, tmp_path)


async def test_a_blob_the_registry_lost_makes_the_image_invalid(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.misbehave("blobs", answering(404), times=1)
    with failing(FailureCode.IMAGE_INVALID, saying="has lost a part of it"):
        await fetch(registry, http, tmp_path)


# Authorisation


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_credentials_open_a_private_registry(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, auth: Any
) -> None:
    registry.auth, registry.user = auth, ("robot", "s3cret")
    image = await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert image.digest == APP.digest
    assert registry.requests[0].authorization is None  # nobody had asked yet
    tokens = registry.asked("/token")
    if auth == "bearer":
        assert [parse_qs(token.query) for token in tokens] == [
            {"service": ["registry, the"], "scope": ["repository:team/app:pull"]}
        ]
        assert all("Basic" not in (request.authorization or "") for request in registry.asked("/v2/"))


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("credentials", [None, RegistryCredentials(username="robot", password="wr0ng-s3cret")])
async def test_wrong_or_no_credentials_are_told(
    registry: RegistrySimulator,
    http: OutgoingClient,
    tmp_path: Path,
    auth: Any,
    credentials: RegistryCredentials | None,
) -> None:
    registry.auth, registry.user = auth, ("robot", "s3cret")
    expected = "credentials are wrong" if credentials else "needs credentials"
    with failing(FailureCode.REGISTRY_UNAUTHORIZED, saying=expected):
        await fetch(registry, http, tmp_path, credentials=credentials)
    assert len(registry.requests) <= 4  # a refusal is not asked again and again: accounts get locked


async def test_a_public_image_is_pulled_with_a_token_for_everyone(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.auth = "bearer"
    await fetch(registry, http, tmp_path)
    assert len(registry.asked("/token")) == 1


async def test_a_token_that_expires_during_a_pull_is_renewed(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    layers = [layer({f"file{number}": b"x"}) for number in range(9)]
    registry.add("team/layers", images.image(*layers), "1.0")
    registry.auth, registry.token_uses = "bearer", 5
    await fetch(registry, http, tmp_path, "team/layers:1.0")
    assert len(registry.asked("/token")) >= 2


async def test_t42_credentials_are_withheld_from_a_strange_token_service(
    registry: RegistrySimulator, http: OutgoingClient, other: RegistrySimulator, tmp_path: Path
) -> None:
    other.user = ("robot", "s3cret")
    registry.auth, registry.realm = "bearer", f"http://{other.host}/token"
    with failing(FailureCode.REGISTRY_UNAUTHORIZED, saying="not known to belong to it"):
        await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert [request.authorization for request in other.requests] == [None]
    assert all(request.authorization is None for request in registry.requests)


async def test_t42_the_refusal_of_a_strange_services_token_names_the_cause(
    registry: RegistrySimulator, http: OutgoingClient, other: RegistrySimulator, tmp_path: Path
) -> None:
    registry.auth, registry.realm = "bearer", f"http://{other.host}/token"
    with failing(FailureCode.REGISTRY_UNAUTHORIZED, saying=".localhost, which is not known to belong to it"):
        await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert [request.authorization for request in other.requests] == [None]


async def test_t42_a_strange_token_service_may_still_give_tokens_to_everyone(
    registry: RegistrySimulator, http: OutgoingClient, other: RegistrySimulator, tmp_path: Path
) -> None:
    registry.auth, registry.realm = "bearer", f"http://{other.host}/token"
    other._tokens = registry._tokens
    image = await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert image.digest == APP.digest
    assert [request.authorization for request in other.requests] == [None]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_t42_a_blob_redirect_leaves_the_authorization_behind(
    registry: RegistrySimulator, http: OutgoingClient, other: RegistrySimulator, tmp_path: Path, auth: Any
) -> None:
    registry.auth, registry.user = auth, ("robot", "s3cret")
    registry.misbehave("blobs", redirecting(lambda path: f"http://{other.host}{path}"))
    image = await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert image.digest == APP.digest
    assert len(other.requests) == 3
    assert all(request.authorization is None for request in other.requests)


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_t42_a_stranger_that_a_redirect_leads_to_cannot_ask_for_credentials(
    registry: RegistrySimulator,
    http: OutgoingClient,
    other: RegistrySimulator,
    tmp_path: Path,
    kind: Asked,
    auth: Any,
) -> None:
    other.auth, other.user = auth, ("robot", "s3cret")
    registry.misbehave(kind, redirecting(lambda path: f"http://{other.host}{path}"))
    with failing(FailureCode.REGISTRY_UNAUTHORIZED):
        await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert other.requests
    assert all(request.authorization is None for request in other.requests)
    assert not other.asked("/token")


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/token", "https://10.0.0.1/token", "http://[::ffff:10.0.0.1]/"]
)
async def test_t42_a_token_service_at_a_blocked_address_is_not_asked(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, realm: str
) -> None:
    registry.auth, registry.realm = "bearer", realm
    with failing(FailureCode.ADDRESS_BLOCKED, saying="HARBORGUARD_OUTGOING_ALLOWED_NETWORKS"):
        await fetch(registry, http, tmp_path, credentials=ROBOT)


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "registry", "https://", "ftp://127.0.0.1/"])
async def test_a_realm_that_is_no_address_is_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, realm: str
) -> None:
    registry.auth, registry.realm = "bearer", realm
    with failing(FailureCode.REGISTRY_PROTOCOL, saying="no address"):
        await fetch(registry, http, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token":7}',
        b'{"token":"a\\r\\nb"}',
        b'{"token":"a b"}',
        b"<html>",
        b'{"token":"\xc3\xbc"}',
    ],
)
async def test_a_token_that_cannot_be_read_is_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, body: bytes
) -> None:
    registry.auth = "bearer"
    registry.misbehave("token", answering(200, body))
    with failing(FailureCode.REGISTRY_PROTOCOL, saying="token"):
        await fetch(registry, http, tmp_path)


async def test_an_access_token_is_a_token_too(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.auth = "bearer"
    registry._tokens["opaque"] = 9
    registry.misbehave("token", answering(200, b'{"access_token":"opaque"}'))
    assert (await fetch(registry, http, tmp_path)).digest == APP.digest


@pytest.mark.parametrize("challenge", ["", "Negotiate", "Digest realm=x"])
async def test_a_challenge_we_cannot_answer_is_a_refusal(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, challenge: str
) -> None:
    registry.misbehave("manifests", answering(401, www_authenticate=challenge))
    with failing(FailureCode.REGISTRY_UNAUTHORIZED):
        await fetch(registry, http, tmp_path, credentials=ROBOT)
    assert all(request.authorization is None for request in registry.requests)


async def test_t63_credentials_appear_in_no_log_and_no_repr(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (None, "httpx", "httpcore"):  # a server that ran in this process before may have quietened them
        caplog.set_level(logging.DEBUG, logger=name)
    for auth in ("basic", "bearer"):
        registry.auth, registry.user = auth, ("robot", "s3cret")
        await fetch(registry, http, tmp_path / auth, credentials=ROBOT)
    assert caplog.records
    for secret in ("s3cret", ROBOT.basic.removeprefix("Basic "), *registry._tokens):
        assert secret not in caplog.text
        assert secret not in f"{ROBOT!r} {ROBOT}"


# Registries that misbehave (T-105)

UNREACHABLE = FailureCode.REGISTRY_UNREACHABLE
PROTOCOL = FailureCode.REGISTRY_PROTOCOL
MISMATCH = FailureCode.DIGEST_MISMATCH
BUSY = [
    answering(429, retry_after="1"),
    answering(429),
    answering(500),
    answering(502),
    answering(503, retry_after="x"),
]


@pytest.mark.parametrize("asked", ["manifests", "blobs", "token"])
@pytest.mark.parametrize("fault", [*BUSY, cut_short])
async def test_t105_what_fails_twice_is_asked_a_third_time(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, asked: Asked, fault: Fault
) -> None:
    registry.auth = "bearer"
    registry.misbehave(asked, fault, times=2)
    seen: list[int] = []
    image = await fetch(registry, http, tmp_path, progress=lambda arrived, _total: seen.append(arrived))
    assert image.digest == APP.digest
    assert seen[-1] == len(APP.config) + image.size_bytes  # what was fetched twice counts once
    assert stored(tmp_path) == set(APP.blobs)


@pytest.mark.parametrize("asked", ["manifests", "blobs", "token"])
@pytest.mark.parametrize("fault", BUSY)
async def test_t105_a_registry_that_stays_busy_is_given_up(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, asked: Asked, fault: Fault
) -> None:
    registry.auth = "bearer"
    registry.misbehave(asked, fault)
    with failing(UNREACHABLE):
        await fetch(registry, http, tmp_path)
    assert len(registry.asked("/token" if asked == "token" else asked)) >= HASTY.attempts
    assert stored(tmp_path) <= set(APP.blobs)


@pytest.mark.parametrize(
    ("attempt", "retry_after", "expected"),
    [
        *((1, "", 0.5), (3, "", 2), (9, "", 10), (1, "3", 3), (4, "3", 4), (1, "86400", 10)),
        *((2, "-9", 1), (2, "9" * 400, 1), (1, "\u00b2", 0.5), (1, "1.5", 0.5), (1, "Fri, 01 May 2026", 0.5)),
    ],
)
def test_t105_the_wait_a_registry_asks_for_is_kept_within_bounds(
    attempt: int, retry_after: str, expected: float
) -> None:
    patience = Patience(first_pause_seconds=0.5, longest_pause_seconds=10)
    assert patience.pause_seconds(attempt, retry_after) == expected


@pytest.mark.parametrize("asked", ["manifests", "blobs", "token"])
@pytest.mark.parametrize("status", [400, 405, 410, 416, 451])
async def test_t105_any_other_status_is_final(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, asked: Asked, status: int
) -> None:
    registry.auth = "bearer"
    registry.misbehave(asked, answering(status))
    with failing(PROTOCOL, saying=str(status)):
        await fetch(registry, http, tmp_path)


@pytest.mark.parametrize("asked", ["manifests", "blobs", "token"])
async def test_t105_silence_ends(
    registry: RegistrySimulator, impatient: OutgoingClient, tmp_path: Path, asked: Asked
) -> None:
    registry.auth = "bearer"
    registry.misbehave(asked, hanging)
    with failing(UNREACHABLE, saying="took too long"):
        await fetch(registry, impatient, tmp_path)
    assert stored(tmp_path) <= set(APP.blobs)


@pytest.mark.parametrize("asked", ["manifests", "blobs"])
async def test_t105_a_trickle_ends_with_the_time_of_the_pull(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, asked: Asked
) -> None:
    registry.misbehave(asked, dripping)
    patience = Patience(total_seconds=0.5, answer_seconds=5)
    with failing(UNREACHABLE, saying="took longer than 0.5 seconds"):
        await fetch(registry, http, tmp_path, patience=patience)
    assert stored(tmp_path) <= set(APP.blobs)


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (altered, {MISMATCH}),
        (shorter, {MISMATCH}),
        (longer, {MISMATCH}),
        (endless, {MISMATCH}),
        (huge, {MISMATCH}),
        (cut_short, {PROTOCOL, UNREACHABLE}),
        (answering(200, b"<html>sign in</html>"), {MISMATCH}),
    ],
)
async def test_t105_a_blob_that_is_not_what_it_should_be_is_not_kept(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, fault: Fault, codes: set[FailureCode]
) -> None:
    registry.misbehave("blobs", fault)
    with failing(*codes):
        await fetch(registry, http, tmp_path)
    assert stored(tmp_path) == set()


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (altered, {MISMATCH}),
        (shorter, {MISMATCH}),
        (longer, {MISMATCH}),
        (endless, {FailureCode.LIMIT_EXCEEDED}),
        (huge, {FailureCode.LIMIT_EXCEEDED}),
        (cut_short, {PROTOCOL, UNREACHABLE}),
    ],
)
async def test_t105_a_manifest_asked_for_by_digest_is_that_or_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, fault: Fault, codes: set[FailureCode]
) -> None:
    registry.misbehave("manifests", fault)
    with failing(*codes):
        await fetch(registry, http, tmp_path, f"team/app@{APP.digest}")
    assert not registry.asked("blobs")


@pytest.mark.parametrize("fault", [altered, shorter, answering(200, b"{}"), answering(200, b"null")])
async def test_t105_a_manifest_that_is_none_is_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, fault: Fault
) -> None:
    registry.misbehave("manifests", fault)
    with failing(FailureCode.IMAGE_INVALID):
        await fetch(registry, http, tmp_path)


async def test_t105_a_member_of_an_index_is_the_one_described_or_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.put_manifest("team/multi", APP.digest, ARM.manifest, media_type=ARM.media_type)
    with failing(MISMATCH):
        await fetch(registry, http, tmp_path, "team/multi:1.0")


async def test_a_web_page_is_no_registry(registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path) -> None:
    registry.misbehave("manifests", answering(200, b"<html>", content_type="text/html; charset=utf-8"))
    with failing(PROTOCOL, saying="web page"):
        await fetch(registry, http, tmp_path)


@pytest.mark.parametrize("size", [0, 1, 10**15])
async def test_a_size_that_lies_is_found_out(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, size: int
) -> None:
    document = json.loads(APP.manifest)
    document["layers"][0]["size"] = size
    registry.put_manifest("team/app", "lying", json.dumps(document).encode(), media_type=APP.media_type)
    with failing(MISMATCH, FailureCode.LIMIT_EXCEEDED):
        await fetch(registry, http, tmp_path, "team/app:lying")


async def test_an_image_over_the_limit_is_refused_before_its_layers_are_asked_for(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    for limits in (ImageLimits(total_bytes=100), ImageLimits(layers=1), ImageLimits(manifest_bytes=100)):
        with failing(FailureCode.LIMIT_EXCEEDED):
            await fetch(registry, http, tmp_path, limits=limits)
    assert not registry.asked("blobs")


@pytest.mark.parametrize("asked", ["manifests", "blobs"])
@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/"])
async def test_t40_a_redirect_to_a_blocked_address_is_refused(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path, asked: Asked, target: str
) -> None:
    registry.misbehave(asked, redirecting(target))
    with failing(FailureCode.ADDRESS_BLOCKED):
        await fetch(registry, http, tmp_path)


async def test_redirects_in_a_circle_end(registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path) -> None:
    registry.misbehave("blobs", redirecting(lambda path: path))
    with failing(PROTOCOL, saying="redirects more than"):
        await fetch(registry, http, tmp_path)


@pytest.mark.parametrize("host", ["169.254.169.254", "127.1", "999.1.1.1", "10.0.0.1:5000", "metadata.google.internal"])
async def test_t40_a_registry_at_a_blocked_address_is_refused(host: str, tmp_path: Path) -> None:
    async with OutgoingClient(OutgoingPolicy()) as http:
        with failing(FailureCode.ADDRESS_BLOCKED):
            await fetch(RegistrySimulator(host=host), http, tmp_path)


async def test_t43_a_closed_port_and_a_refused_network_read_the_same(stage: Stage, tmp_path: Path) -> None:
    registry = stage.new_registry("127.0.0.1")
    messages = set()
    async with OutgoingClient(OutgoingPolicy()) as http:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        for host in (registry.host, f"127.0.0.1:{port}"):
            with pytest.raises(ScanFailure) as raised:
                await fetch(RegistrySimulator(host=host), http, tmp_path)
            messages.add((raised.value.code, raised.value.message.replace(host, "HOST")))
    assert len(messages) == 1
    assert registry.requests == []


async def test_a_cancelled_pull_leaves_nothing_half_written(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    registry.misbehave("blobs", slowly(0), times=1)  # one blob arrives, the others never do
    registry.misbehave("blobs", dripping)
    started = asyncio.Event()
    pulling = asyncio.create_task(fetch(registry, http, tmp_path, progress=lambda _arrived, _total: started.set()))
    await started.wait()
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    assert stored(tmp_path) <= set(APP.blobs)


# TLS


async def test_tls_is_the_rule(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    with serving(certificate=authority.issue("localhost")) as stage:
        registry = stage.new_registry("localhost")
        registry.add("team/app", APP, "1.0")
        for bundle in (authority.bundle, None):
            policy = OutgoingPolicy(allowed_networks=LOOPBACK, extra_ca_bundle=bundle)
            async with OutgoingClient(policy) as http:
                if bundle is None:
                    with failing(UNREACHABLE, saying="HARBORGUARD_OUTGOING_CA_BUNDLE"):
                        await fetch(registry, http, tmp_path / "untrusted", insecure=False)
                else:
                    image = await fetch(registry, http, tmp_path / "trusted", insecure=False)
                    assert image.digest == APP.digest
        assert len(registry.asked("manifests")) == 1


async def test_plain_http_is_used_only_where_allowed(
    registry: RegistrySimulator, http: OutgoingClient, tmp_path: Path
) -> None:
    with failing(UNREACHABLE, saying="TLS"):
        await fetch(registry, http, tmp_path, insecure=False, credentials=ROBOT)
    assert registry.requests == []


# Which digest a tag has now


async def digest(registry: RegistrySimulator, http: OutgoingHttp, image: str, **options: Any) -> str:
    arguments = {"credentials": None, "limits": LIMITS, "insecure": True, "patience": HASTY}
    return await resolve_digest(ImageReference.parse(f"{registry.host}/{image}"), http=http, **(arguments | options))


@pytest.mark.parametrize(("image", "expected"), [("team/app", APP.digest), ("team/multi:1.0", MULTI.digest)])
async def test_a_digest_is_asked_for_without_the_manifest(
    registry: RegistrySimulator, http: OutgoingClient, image: str, expected: str
) -> None:
    assert await digest(registry, http, image) == expected
    assert [request.method for request in registry.requests] == ["HEAD"]


async def test_a_digest_is_computed_when_it_is_not_told(registry: RegistrySimulator, http: OutgoingClient) -> None:
    registry.announces_digest = False
    assert await digest(registry, http, "team/multi:1.0") == MULTI.digest


@pytest.mark.parametrize("status", [400, 405, 501])
async def test_a_digest_is_computed_where_head_is_unknown(
    registry: RegistrySimulator, http: OutgoingClient, status: int
) -> None:
    registry.misbehave("manifests", answering(status), times=1)
    assert await digest(registry, http, "team/app") == APP.digest


async def test_a_digest_that_is_none_is_not_believed(registry: RegistrySimulator, http: OutgoingClient) -> None:
    registry.misbehave("manifests", answering(200, docker_content_digest="sha256:../../etc"), times=1)
    assert await digest(registry, http, "team/app") == APP.digest


async def test_a_digest_of_a_private_image_needs_credentials(registry: RegistrySimulator, http: OutgoingClient) -> None:
    registry.auth, registry.user = "bearer", ("robot", "s3cret")
    assert await digest(registry, http, "team/app", credentials=ROBOT) == APP.digest
    with failing(FailureCode.REGISTRY_UNAUTHORIZED):
        await digest(registry, http, "team/app")


async def test_a_digest_of_a_missing_image(registry: RegistrySimulator, http: OutgoingClient) -> None:
    with failing(FailureCode.IMAGE_NOT_FOUND):
        await digest(registry, http, "team/nope")


async def test_a_reference_by_digest_is_its_own_answer(registry: RegistrySimulator, http: OutgoingClient) -> None:
    assert await digest(registry, http, f"team/app@{APP.digest}") == APP.digest
    assert registry.requests == []
