"""Where images come from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, time_field


class RegistryProvider(StrEnum):
    DOCKER_HUB = "DOCKER_HUB"
    GHCR = "GHCR"
    AWS_ECR = "AWS_ECR"
    AZURE_ACR = "AZURE_ACR"
    GOOGLE_GAR = "GOOGLE_GAR"
    GITLAB = "GITLAB"
    HARBOR = "HARBOR"
    JFROG = "JFROG"
    QUAY = "QUAY"
    NEXUS = "NEXUS"
    DOCKER_REGISTRY = "DOCKER_REGISTRY"
    CUSTOM = "CUSTOM"


class Registry(TenantTable, table=True):
    """A registry and the credentials to pull from it, sealed (see schema/kernel/secrets.py)."""

    __tablename__ = "registries"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: str = id_field()
    name: str = Field(max_length=200)
    provider: RegistryProvider = enum_field(RegistryProvider, nullable=False)
    host: str = Field(max_length=300)  # "ghcr.io", "127.0.0.1:5000"
    insecure: bool = False  # plain HTTP
    username: str | None = Field(default=None, max_length=300)
    sealed_password: dict[str, str] | None = json_field(default=None, nullable=True)
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
