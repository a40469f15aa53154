"""What providers' webhooks say, by the shapes the providers publish, and how they prove that they are theirs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from schema.registries.events.proof import PROOFS, SLUGS, is_proven, slug_of
from schema.registries.events.pushes import MAX_PUSHES, Push, read_pushes
from schema.registries.models import RegistryProvider

DIGEST = f"sha256:{'d' * 64}"
TIME, MOMENT = "2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)


def distribution(action: str = "push", **target: Any) -> dict[str, Any]:
    target = {"repository": "team/api", "tag": "1.0", "digest": DIGEST, **target}
    return {"events": [{"id": "e-1", "timestamp": TIME, "action": action, "target": target}]}


def pubsub(**data: str) -> dict[str, Any]:
    message = {"messageId": "m-1", "publishTime": TIME, "data": base64.b64encode(orjson.dumps(data)).decode()}
    return {"message": message, "subscription": "projects/acme/subscriptions/harborguard"}


GITHUB = {
    "action": "published",
    "package": {
        "name": "API",
        "namespace": "Acme",
        "package_type": "CONTAINER",
        "created_at": TIME,
        "package_version": {"container_metadata": {"tag": {"name": "1.0", "digest": DIGEST}}},
    },
}
HARBOR = {
    "type": "PUSH_ARTIFACT",
    "occur_at": int(MOMENT.timestamp()),
    "event_data": {
        "resources": [{"digest": DIGEST, "tag": "1.0", "resource_url": "harbor.example/team/api:1.0"}],
        "repository": {"repo_full_name": "team/api"},
    },
}
ECR = {
    "id": "e-1",
    "time": TIME,
    "source": "aws.ecr",
    "detail-type": "ECR Image Action",
    "detail": {
        "action-type": "PUSH",
        "result": "SUCCESS",
        "repository-name": "team/api",
        "image-tag": "1.0",
        "image-digest": DIGEST,
    },
}
PUSHED = Push(repository="team/api", tag="1.0", digest=DIGEST)
SAID: list[tuple[RegistryProvider, Any, Push]] = [
    (RegistryProvider.DOCKER_REGISTRY, distribution(), PUSHED),
    (RegistryProvider.GITLAB, distribution(), PUSHED),
    (RegistryProvider.CUSTOM, distribution(), PUSHED),
    (
        RegistryProvider.DOCKER_REGISTRY,
        distribution("delete", tag=None),
        Push(repository="team/api", digest=DIGEST, deleted=True),
    ),
    (
        RegistryProvider.AZURE_ACR,
        {**distribution()["events"][0], "request": {"host": "acme.azurecr.io"}},
        Push(repository="team/api", tag="1.0", digest=DIGEST, host="acme.azurecr.io"),
    ),
    (RegistryProvider.HARBOR, HARBOR, PUSHED),
    (
        RegistryProvider.HARBOR,
        {"specversion": "1.0", "id": "e-1", "time": TIME, "type": "harbor.artifact.deleted", "data": HARBOR["event_data"]},
        Push(repository="team/api", tag="1.0", digest=DIGEST, deleted=True),
    ),
    (RegistryProvider.QUAY, {"repository": "team/api", "updated_tags": ["1.0"]}, Push(repository="team/api", tag="1.0")),
    (RegistryProvider.QUAY, {"repository": "team/api", "updated_tags": {"1.0": "abc"}}, Push(repository="team/api", tag="1.0")),
    (
        RegistryProvider.DOCKER_HUB,
        {"push_data": {"tag": "1.0", "pushed_at": MOMENT.timestamp()}, "repository": {"repo_name": "team/api"}},
        Push(repository="team/api", tag="1.0"),
    ),
    (RegistryProvider.GHCR, GITHUB, Push(repository="acme/api", tag="1.0", digest=DIGEST)),
    (RegistryProvider.GHCR, {"action": "updated", "registry_package": GITHUB["package"]},
     Push(repository="acme/api", tag="1.0", digest=DIGEST)),
    (RegistryProvider.AWS_ECR, ECR, PUSHED),
    (
        RegistryProvider.GOOGLE_GAR,
        pubsub(action="INSERT", digest=f"eu-docker.pkg.dev/acme/team/api@{DIGEST}", tag="eu-docker.pkg.dev/acme/team/api:1.0"),
        Push(repository="acme/team/api", tag="1.0", digest=DIGEST, host="eu-docker.pkg.dev"),
    ),
    (
        RegistryProvider.JFROG,
        {
            "domain": "docker",
            "event_type": "pushed",
            "data": {"repo_key": "docker-local", "image_name": "api", "tag": "1.0", "sha256": "d" * 64},
        },
        Push(repository="docker-local/api", tag="1.0", digest=DIGEST),
    ),
    (
        RegistryProvider.NEXUS,
        {"timestamp": TIME, "action": "CREATED", "component": {"format": "docker", "name": "team/api", "version": "1.0"}},
        Push(repository="team/api", tag="1.0"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "body", "push"), SAID, ids=lambda value: value if isinstance(value, str) else "")
def test_each_providers_words_are_understood(provider: RegistryProvider, body: Any, push: Push) -> None:
    assert read_pushes(provider, orjson.dumps(body)).pushes == (push,)


def test_every_provider_was_asked() -> None:
    assert {provider for provider, _, _ in SAID} == set(RegistryProvider)


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        (RegistryProvider.DOCKER_REGISTRY, distribution("pull")),
        (RegistryProvider.DOCKER_REGISTRY, distribution(tag=None)),  # a layer, or a member of an index
        (RegistryProvider.AZURE_ACR, {"id": "1", "action": "ping", "timestamp": TIME}),
        (RegistryProvider.HARBOR, {**HARBOR, "type": "SCANNING_COMPLETED"}),
        (RegistryProvider.QUAY, {"repository": "team/api", "build_id": "7"}),
        (RegistryProvider.GHCR, {"zen": "Keep it logically awesome.", "hook_id": 7}),
        (RegistryProvider.GHCR, {**GITHUB, "package": {**GITHUB["package"], "package_type": "npm"}}),  # type: ignore[dict-item]
        (RegistryProvider.AWS_ECR, {**ECR, "detail": {**ECR["detail"], "result": "FAILURE"}}),  # type: ignore[dict-item]
        (RegistryProvider.AWS_ECR, {**ECR, "detail-type": "ECR Image Scan"}),
        (RegistryProvider.GOOGLE_GAR, pubsub(action="CREATE")),
        (RegistryProvider.JFROG, {"domain": "artifact", "event_type": "deployed", "data": {}}),
        (RegistryProvider.NEXUS, {"timestamp": TIME, "action": "CREATED", "asset": {}}),
    ],
)
def test_what_is_no_push_is_passed_over(provider: RegistryProvider, body: Any) -> None:
    assert read_pushes(provider, orjson.dumps(body)).pushes == ()


@pytest.mark.parametrize("provider", RegistryProvider)
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"7", b'"text"', b'{"events": 7}', b"{", b"\xff", b'{"a": ' * 2000 + b"1" + b"}" * 2000],
)
def test_what_is_no_event_is_refused_or_tells_nothing(provider: RegistryProvider, body: bytes) -> None:
    try:
        told = read_pushes(provider, body)
    except ValueError:
        return
    assert told.pushes == (), "an object that tells of something else"


@pytest.mark.parametrize(
    "change",
    [{"repository": None}, {"repository": ""}, {"repository": 7}, {"tag": ["1.0"]}, {"digest": {}}],
)
def test_a_push_without_what_it_needs_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"missing"):
        read_pushes(RegistryProvider.DOCKER_REGISTRY, orjson.dumps(distribution(**change)))


def test_more_than_a_body_may_tell_is_refused() -> None:
    many = {"repository": "team/api", "updated_tags": [f"v{number}" for number in range(MAX_PUSHES + 1)]}
    with pytest.raises(ValueError, match="more than"):
        read_pushes(RegistryProvider.QUAY, orjson.dumps(many))
    many["updated_tags"].pop()  # type: ignore[attr-defined]
    assert len(read_pushes(RegistryProvider.QUAY, orjson.dumps(many)).pushes) == MAX_PUSHES


# --- Proofs

SECRET, BODY = "s3cret-of-the-webhook", b'{"events": []}'


def as_sent(provider: RegistryProvider, secret: str, body: bytes = BODY) -> tuple[dict[str, str], str | None]:
    """Headers and token, the way the provider sends them."""
    proof = PROOFS[provider]
    if proof.token:
        return {}, secret
    if proof.header is not None:
        return {proof.header: f"Bearer {secret}" if proof.header == "authorization" else secret}, None
    assert proof.signature is not None
    return {proof.signature: proof.prefix + hmac.new(secret.encode(), body, proof.digest).hexdigest()}, None


@pytest.mark.parametrize("provider", SLUGS.values())
def test_the_secret_proves_and_nothing_else_does(provider: RegistryProvider) -> None:
    headers, token = as_sent(provider, SECRET)
    assert is_proven(provider, SECRET, headers=headers, token=token, body=BODY)

    for wrong in ("", "x", SECRET + "x", SECRET[:-1], SECRET.upper(), "\udcff"):
        headers, token = as_sent(provider, wrong) if wrong != "\udcff" else (dict.fromkeys(headers, wrong), wrong)
        assert not is_proven(provider, SECRET, headers=headers, token=token, body=BODY), wrong
    assert not is_proven(provider, SECRET, headers={}, token=None, body=BODY)
    if PROOFS[provider].signature and not PROOFS[provider].header:
        headers, token = as_sent(provider, SECRET)
        assert not is_proven(provider, SECRET, headers=headers, token=token, body=BODY + b" "), "another body"
        assert not is_proven(provider, SECRET, headers={}, token=SECRET, body=BODY)


def test_signatures_are_those_of_the_providers() -> None:
    """By GitHub's own example, and the SHA-1 that Nexus documents."""
    secret, payload = "It's a Secret to Everybody", b"Hello, World!"
    github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": github}
    assert is_proven(RegistryProvider.GHCR, secret, headers=headers, token=None, body=payload)
    nexus = hmac.new(secret.encode(), payload, hashlib.sha1).hexdigest()
    headers = {"x-nexus-webhook-signature": nexus}
    assert is_proven(RegistryProvider.NEXUS, secret, headers=headers, token=None, body=payload)


def test_a_provider_nobody_knows_is_a_distribution() -> None:
    assert slug_of(RegistryProvider.CUSTOM) == "docker-registry"
    assert {slug_of(provider) for provider in SLUGS.values()} == set(SLUGS)
