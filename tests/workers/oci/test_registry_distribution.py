"""Pulling from a real registry: CNCF distribution, as Debian packages it (`apt install docker-registry`).

What it does is also played by the simulator in test_registry.py, so nothing goes untested where it is not installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.images.reference import ImageReference
from schema.scans.failures import FailureCode, ScanFailure
from tests.distribution import HTPASSWD, PROGRAM, ROBOT, push, running
from tests.factories import images
from tests.factories.images import index, layer
from workers.oci.client import RegistryCredentials
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits
from workers.oci.registry import pull, resolve_digest

APP = images.image(layer({"etc/os-release": b"ID=debian\n"}), layer({"app": bytes(3 << 20)}), docker=True)
MULTI = index(images.image(layer({"amd": b"64"})), images.image(layer({"arm": b"64"}), platform="linux/arm64"))

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("registry")) as host:
        with httpx.Client(base_url=f"http://{host}") as http:
            push(http, "team/app", APP, "1.0")
            push(http, "team/multi", MULTI, "1.0")
        yield host


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("registry")
    users = directory / "htpasswd"
    users.write_text(HTPASSWD)
    with running(directory, auth={"htpasswd": {"realm": "registry", "path": str(users)}}) as host:
        with httpx.Client(base_url=f"http://{host}", auth=("robot", "s3cret")) as http:
            push(http, "team/app", APP, "1.0")
        yield host


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[OutgoingClient]:
    async with OutgoingClient(OutgoingPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))) as client:
        yield client


async def fetch(http: OutgoingClient, destination: Path, image: str, **options: Any) -> Image:
    arguments = {"platform": None, "credentials": None, "limits": ImageLimits(), "insecure": True}
    return await pull(ImageReference.parse(image), destination, http=http, **(arguments | options))


async def test_a_pushed_image_is_pulled_as_it_was(public: str, http: OutgoingClient, tmp_path: Path) -> None:
    image = await fetch(http, tmp_path, f"{public}/team/app:1.0")
    assert image == read_image(tmp_path, ImageLimits())
    for digest, data in APP.blobs.items():
        assert (tmp_path / "blobs" / digest.replace(":", "/")).read_bytes() == data


async def test_a_platform_is_pulled_from_an_index(public: str, http: OutgoingClient, tmp_path: Path) -> None:
    image = await fetch(http, tmp_path, f"{public}/team/multi@{MULTI.digest}", platform="linux/arm64")
    assert (image.digest, image.platform) == (MULTI.members[1].digest, "linux/arm64")


async def test_a_tag_is_resolved(public: str, http: OutgoingClient) -> None:
    for name, expected in (("app", APP.digest), ("multi", MULTI.digest)):
        reference = ImageReference.parse(f"{public}/team/{name}:1.0")
        resolved = await resolve_digest(reference, credentials=None, http=http, limits=ImageLimits(), insecure=True)
        assert resolved == expected


@pytest.mark.parametrize("image", ["team/nope:1.0", "team/app:2.0", f"team/app@sha256:{'0' * 64}"])
async def test_a_missing_image_is_not_found(public: str, http: OutgoingClient, tmp_path: Path, image: str) -> None:
    with pytest.raises(ScanFailure) as raised:
        await fetch(http, tmp_path, f"{public}/{image}")
    assert raised.value.code is FailureCode.IMAGE_NOT_FOUND


async def test_a_private_image_is_pulled_with_credentials(private: str, http: OutgoingClient, tmp_path: Path) -> None:
    image = await fetch(http, tmp_path, f"{private}/team/app:1.0", credentials=ROBOT)
    assert image.digest == APP.digest


@pytest.mark.parametrize("credentials", [None, RegistryCredentials(username="robot", password="wrong")])
async def test_a_private_image_is_refused_without_the_right_credentials(
    private: str, http: OutgoingClient, tmp_path: Path, credentials: RegistryCredentials | None
) -> None:
    with pytest.raises(ScanFailure) as raised:
        await fetch(http, tmp_path, f"{private}/team/app:1.0", credentials=credentials)
    assert raised.value.code is FailureCode.REGISTRY_UNAUTHORIZED
