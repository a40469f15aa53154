"""Registries that keep their list closed are listed by their own APIs, and nobody else is told the credentials."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.kernel.clock import utc_now
from schema.registries.models import RegistryProvider as Provider
from schema.registries.repository import RegistryAccess
from schema.scans.failures import FailureCode, ScanFailure
from tests.simulators.certificates import Authority, new_authority
from tests.simulators.providers import (
    DIGEST,
    ECR,
    GAR,
    SECRET,
    USER,
    Leading,
    Providers,
    serving_providers,
)
from tests.simulators.registry import Fault, answering, cut_short, endless, huge, resolve_to_loopback, slowly
from workers.oci.client import Patience
from workers.oci.listing import ListedTag, ListingLimits
from workers.oci.providers import gitlab_api, open_catalogue, pull_credentials
from workers.oci.signing import sign_aws

HASTY = Patience(answer_seconds=5, attempts=3, first_pause_seconds=0.01, longest_pause_seconds=0.05)
REPOSITORIES = ["api", "deep/web", "worker", "zoo", "last"]
CASES = {
    "hub": (Provider.DOCKER_HUB, "docker.io", {"namespace": "acme"}, "acme/"),
    "ghcr": (Provider.GHCR, "ghcr.io", {"namespace": "acme"}, "acme/"),
    "ecr": (Provider.AWS_ECR, ECR, {}, "acme/"),
    "acr": (Provider.AZURE_ACR, "acme.azurecr.io", {}, "acme/"),
    "gar": (Provider.GOOGLE_GAR, GAR, {}, "acme-prod/images/"),
    "gitlab group": (Provider.GITLAB, "registry.gitlab.com", {"namespace": "acme"}, "acme/"),
    "gitlab project": (Provider.GITLAB, "registry.acme.dev", {"project": "acme/app"}, "acme/"),
    "harbor": (Provider.HARBOR, "harbor.acme.dev", {}, "acme/"),
    "harbor project": (Provider.HARBOR, "harbor.acme.dev", {"project": "acme"}, "acme/"),
    "quay": (Provider.QUAY, "quay.io", {"namespace": "acme"}, "acme/"),
    "jfrog": (Provider.JFROG, "acme.jfrog.io", {"namespace": "docker-local"}, "docker-local/"),
    "nexus": (Provider.NEXUS, "nexus.acme.dev", {"namespace": "docker-hosted"}, "docker-hosted/"),
    "nexus port": (Provider.NEXUS, "nexus.acme.dev", {}, "acme/"),
}
every_provider = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def served(authority: Authority) -> Iterator[tuple[Providers, int]]:
    with serving_providers(authority) as served:
        yield served


@pytest.fixture
def providers(served: tuple[Providers, int]) -> Providers:
    return served[0]


@pytest.fixture
async def http(served: tuple[Providers, int], authority: Authority) -> AsyncIterator[OutgoingClient]:
    policy = OutgoingPolicy(
        allowed_networks=(ip_network("127.0.0.0/8"),), silence_seconds=1, extra_ca_bundle=authority.bundle
    )
    async with OutgoingClient(policy, resolve=resolve_to_loopback, network=Leading(served[1])) as client:
        yield client


def access(case: str, providers: Providers, *, password: str | None = None) -> RegistryAccess:
    provider, host, options, _ = CASES[case]
    user, stored = USER, SECRET
    if provider is Provider.GOOGLE_GAR:
        user, stored = "_json_key", providers.key_file
    if provider is Provider.QUAY:
        user = "$oauthtoken"
    return RegistryAccess(
        host=host, insecure=False, username=user, password=password or stored, provider=provider, options=options
    )


async def listed(access: RegistryAccess, http: OutgoingClient, *, limits: ListingLimits | None = None) -> list[str]:
    catalogue = await open_catalogue(access, http=http, clock=utc_now, patience=HASTY, limits=limits or ListingLimits())
    return [name async for page in catalogue.list_repositories() for name in page]


@every_provider
async def test_repositories_are_listed_page_by_page(case: str, providers: Providers, http: OutgoingClient) -> None:
    assert await listed(access(case, providers), http) == [CASES[case][3] + name for name in REPOSITORIES]


@every_provider
async def test_tags_are_listed(case: str, providers: Providers, http: OutgoingClient) -> None:
    catalogue = await open_catalogue(access(case, providers), http=http, clock=utc_now, patience=HASTY)
    tags = [tag async for page in catalogue.list_tags(f"{CASES[case][3]}api") for tag in page]
    digest = DIGEST if case == "ecr" else None
    assert tags == [ListedTag(name=name, digest=digest) for name in ("1.0", "1.1", "latest")]


@pytest.mark.parametrize("case", ["hub", "ghcr", "acr", "gitlab group", "harbor", "quay"])
async def test_wrong_credentials_are_refused_in_words_without_them(
    case: str, providers: Providers, http: OutgoingClient
) -> None:
    with pytest.raises(ScanFailure) as raised:
        await listed(access(case, providers, password="wr0ng-t0ken"), http)
    assert raised.value.code is FailureCode.REGISTRY_UNAUTHORIZED
    assert "credentials are wrong" in raised.value.message
    assert "wr0ng" not in repr(raised.value)


@pytest.mark.parametrize("password", ["not json", "{}", '{"private_key": "-----BEGIN"}', "[]"])
async def test_a_service_account_that_cannot_be_read_is_refused(
    password: str, providers: Providers, http: OutgoingClient
) -> None:
    with pytest.raises(ScanFailure) as raised:
        await listed(access("gar", providers, password=password), http)
    assert raised.value.code in {FailureCode.REGISTRY_UNAUTHORIZED, FailureCode.REGISTRY_PROTOCOL}
    assert providers.seen_by("oauth2.googleapis.com") == []


async def test_a_service_account_may_come_in_base64(providers: Providers, http: OutgoingClient) -> None:
    stored = RegistryAccess(
        host=GAR,
        insecure=False,
        username="_json_key_base64",
        password=base64.b64encode(providers.key_file.encode()).decode(),
        provider=Provider.GOOGLE_GAR,
        options={"project": "acme-prod"},
    )
    assert len(await listed(stored, http)) == len(REPOSITORIES)


async def test_ecr_is_pulled_from_with_a_password_of_some_hours(providers: Providers, http: OutgoingClient) -> None:
    credentials = await pull_credentials(access("ecr", providers), http=http, clock=utc_now, patience=HASTY)
    assert credentials is not None
    assert (credentials.username, credentials.password) == ("AWS", "hours")


@pytest.mark.parametrize("case", ["hub", "ghcr", "ecr", "gar"])
async def test_t42_a_registry_under_another_name_is_no_reason_to_ask_a_provider(
    case: str, providers: Providers, http: OutgoingClient
) -> None:
    provider = CASES[case][0]
    elsewhere = RegistryAccess(
        host="nexus.acme.dev", insecure=False, username=USER, password=SECRET, provider=provider, options={}
    )
    assert await listed(elsewhere, http) == [f"acme/{name}" for name in REPOSITORIES]
    assert set(providers.hosts) == {"nexus.acme.dev"}


@every_provider
@pytest.mark.parametrize(
    "fault",
    [
        answering(429, retry_after="1"),
        answering(503),
        answering(200, b"<html>"),
        answering(200, b'{"repositories": 7, "results": 7, "packages": 7}'),
        answering(200, b'"text"'),
        answering(302, location="https://10.0.0.1/"),
        cut_short,
        endless,
        huge,
    ],
    ids=["429", "503", "page", "number", "text", "redirect", "cut", "endless", "huge"],
)
async def test_t105_misbehaviour_ends_in_a_failure_that_says_so(
    case: str, fault: Fault, providers: Providers, http: OutgoingClient
) -> None:
    providers.misbehave(fault)
    with pytest.raises(ScanFailure) as raised:
        await listed(access(case, providers), http)
    assert raised.value.code in {
        FailureCode.REGISTRY_UNREACHABLE,
        FailureCode.REGISTRY_PROTOCOL,
        FailureCode.REGISTRY_UNAUTHORIZED,
        FailureCode.ADDRESS_BLOCKED,
    }
    assert SECRET not in repr(raised.value)
    assert len(providers.requests) <= 3 * 3, "asked again, and not for ever"


@every_provider
@pytest.mark.parametrize("fault", [answering(429, retry_after="0"), answering(500), cut_short, slowly(0.2)])
async def test_what_fails_once_is_asked_again(
    case: str, fault: Fault, providers: Providers, http: OutgoingClient
) -> None:
    providers.misbehave(fault, times=1)
    assert len(await listed(access(case, providers), http)) == len(REPOSITORIES)


@every_provider
async def test_a_list_that_is_too_long_is_read_to_the_bound(
    case: str, providers: Providers, http: OutgoingClient
) -> None:
    catalogue = await open_catalogue(
        access(case, providers), http=http, clock=utc_now, patience=HASTY, limits=ListingLimits(repositories=3)
    )
    names: list[str] = []

    async def read() -> None:
        async for page in catalogue.list_repositories():
            names.extend(page)

    with pytest.raises(ScanFailure) as raised:
        await read()
    assert raised.value.code is FailureCode.LIMIT_EXCEEDED
    assert names == [CASES[case][3] + name for name in REPOSITORIES[:3]]


@every_provider
async def test_names_that_are_none_are_left_out(case: str, providers: Providers, http: OutgoingClient) -> None:
    providers.repositories = ("api", "UPPER", "a b", "x" * 300, "fine")
    assert await listed(access(case, providers), http) == [CASES[case][3] + name for name in ("api", "fine")]


@pytest.mark.parametrize(
    ("registry", "api"),
    [
        ("https://registry.gitlab.com", "https://gitlab.com"),
        ("https://registry.gitlab.acme.dev", "https://gitlab.acme.dev"),
        ("https://registry.acme.dev", "https://gitlab.acme.dev"),
        ("https://gitlab.acme.dev:5050", "https://gitlab.acme.dev"),
        ("http://gitlab.acme.dev:8080", "http://gitlab.acme.dev:8080"),
    ],
)
def test_where_gitlab_answers(registry: str, api: str) -> None:
    assert gitlab_api(registry) == api


def test_an_aws_signature_is_the_one_amazon_publishes() -> None:
    """`post-vanilla` of the test suite for Signature Version 4."""
    headers = sign_aws(
        access_key="AKIDEXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        service="service",
        host="example.amazonaws.com",
        headers={},
        body=b"",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    )
    assert headers["x-amz-date"] == "20150830T123600Z"
