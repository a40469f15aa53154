"""How a provider shows that a webhook is its own: a signature of the body, or the secret itself. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schema.registries.models import RegistryProvider

OWN_HEADER = "x-harborguard-token"  # for senders whose headers are free


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a provider can send. `header` holds the secret as it is, or after `Bearer`."""

    header: str | None = None
    signature: str | None = None  # a header with the body's HMAC, in hexadecimal digits
    prefix: str = ""  # of the signature
    digest: Callable[..., Any] = field(default=hashlib.sha256)
    token: bool = False  # in the query string


SLUGS: Mapping[str, RegistryProvider] = {
    "acr": RegistryProvider.AZURE_ACR,
    "gitlab": RegistryProvider.GITLAB,
    "harbor": RegistryProvider.HARBOR,
    "quay": RegistryProvider.QUAY,
    "docker-hub": RegistryProvider.DOCKER_HUB,
    "ghcr": RegistryProvider.GHCR,
    "ecr": RegistryProvider.AWS_ECR,
    "gar": RegistryProvider.GOOGLE_GAR,
    "jfrog": RegistryProvider.JFROG,
    "nexus": RegistryProvider.NEXUS,
    "docker-registry": RegistryProvider.DOCKER_REGISTRY,
}
PROOFS: Mapping[RegistryProvider, Proof] = {
    RegistryProvider.AZURE_ACR: Proof(header="authorization"),
    RegistryProvider.GITLAB: Proof(header="x-gitlab-token"),
    RegistryProvider.HARBOR: Proof(header="authorization"),
    RegistryProvider.QUAY: Proof(token=True),
    RegistryProvider.DOCKER_HUB: Proof(token=True),
    RegistryProvider.GHCR: Proof(signature="x-hub-signature-256", prefix="sha256="),
    RegistryProvider.AWS_ECR: Proof(header=OWN_HEADER),
    RegistryProvider.GOOGLE_GAR: Proof(token=True),
    # The secret as it is, or, where the webhook is set to sign its payload, the signature; both in one header.
    RegistryProvider.JFROG: Proof(header="x-jfrog-event-auth", signature="x-jfrog-event-auth"),
    # SHA-1 is what Nexus signs with; an HMAC does not suffer from its collisions.
    RegistryProvider.NEXUS: Proof(signature="x-nexus-webhook-signature", digest=hashlib.sha1),
    RegistryProvider.DOCKER_REGISTRY: Proof(header="authorization"),
}


def slug_of(provider: RegistryProvider) -> str:
    """What its webhook's address is called. A registry of no known provider is taken for a Distribution."""
    return next((slug for slug, each in SLUGS.items() if each is provider), "docker-registry")


def is_proven(
    provider: RegistryProvider, secret: str, *, headers: Mapping[str, str], token: str | None, body: bytes
) -> bool:
    """Whether the sender knows the secret. All that is compared is compared in constant time."""
    proof, key = PROOFS[provider], secret.encode()
    proven = False
    if proof.signature is not None:
        expected = proof.prefix + hmac.new(key, body, proof.digest).hexdigest()
        proven |= _same(headers.get(proof.signature, ""), expected)
    if proof.header is not None:
        value = headers.get(proof.header, "").strip()
        scheme, _, rest = value.partition(" ")
        proven |= _same(rest.strip() if scheme.lower() == "bearer" else value, secret)
    if proof.token:
        proven |= _same(token or "", secret)
    return proven


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
