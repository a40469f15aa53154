"""The catalogue: an image (a repository in a registry), its tags, and the digests they point to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, id_field, json_field, optional_time_field, time_field
from schema.vulnerabilities.verdict import VerdictColumns


class Image(VerdictColumns, table=True):
    """A repository: one name in one registry, whatever its tags are."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("organization_id", "name"),
        Index(None, "organization_id", "created_at", "id"),
        Index(None, "organization_id", "risk_key", "id"),
    )

    id: str = id_field()
    name: str = Field(max_length=255)  # "ghcr.io/acme/api"
    registry_id: str | None = Field(default=None, foreign_key="registries.id")
    tag_count: int = 0
    latest_tag: str | None = Field(default=None, max_length=128)
    latest_digest: str | None = Field(default=None, max_length=140)
    last_scanned_at: datetime | None = optional_time_field()
    absent_since: datetime | None = optional_time_field()  # when its registry was found without it
    created_at: datetime = time_field()


class Tag(VerdictColumns, table=True):
    """A name that points to a digest, and the verdict of its latest scan."""

    __tablename__ = "tags"
    __table_args__ = (UniqueConstraint("organization_id", "image_id", "name"),)

    id: str = id_field()
    image_id: str = Field(foreign_key="images.id", ondelete="CASCADE", index=True)
    name: str = Field(max_length=128)
    digest: str | None = Field(default=None, max_length=140)  # of what was scanned; None until the first scan
    # What the registry says it points to, which is an index where there are several platforms; None: it was not asked.
    source_digest: str | None = Field(default=None, max_length=140)
    absent_since: datetime | None = optional_time_field()  # when its registry was found without it
    last_scan_id: str | None = Field(default=None, max_length=40)
    last_scanned_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class TagDigest(TenantTable, table=True):
    """What a tag pointed to, from when to when. The latest has no end."""

    __tablename__ = "tag_digests"
    __table_args__ = (Index(None, "organization_id", "tag_id", "since", "id"),)

    id: str = id_field()
    tag_id: str = Field(foreign_key="tags.id", ondelete="CASCADE", index=True)
    digest: str = Field(max_length=140)  # as the registry says: of an index where there are several platforms
    since: datetime = time_field()
    until: datetime | None = optional_time_field()


class Manifest(TenantTable, table=True):
    """One platform's manifest in an index."""

    __tablename__ = "manifests"
    __table_args__ = (UniqueConstraint("organization_id", "image_id", "index_digest", "digest"),)

    id: str = id_field()
    image_id: str = Field(foreign_key="images.id", ondelete="CASCADE", index=True)
    index_digest: str = Field(max_length=140)
    digest: str = Field(max_length=140)
    platform: str = Field(max_length=60)  # "linux/arm64/v8"
    size_bytes: int = Field(default=0, sa_type=BigInteger)  # of the manifest, as the index says


class Digest(TenantTable, table=True):
    """The content a tag pointed to: one manifest for one platform, with what its config says."""

    __tablename__ = "digests"
    __table_args__ = (UniqueConstraint("organization_id", "image_id", "digest"),)

    id: str = id_field()
    image_id: str = Field(foreign_key="images.id", ondelete="CASCADE", index=True)
    digest: str = Field(max_length=140)
    platform: str = Field(max_length=60)  # "linux/amd64"
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    operating_system: str | None = Field(default=None, max_length=200)
    config: dict[str, Any] = json_field(
        default_factory=dict, nullable=False
    )  # user, entry point, labels, exposed ports
    created_at: datetime = time_field()


class Upload(TenantTable, table=True):
    """An archive somebody sent us to scan. The bytes lie in the blob store under `blob`."""

    __tablename__ = "uploads"

    id: str = id_field()
    image: str = Field(max_length=400)  # the reference it is filed under
    blob: str = Field(max_length=200)
    sha256: str = Field(max_length=64)
    size_bytes: int = Field(sa_type=BigInteger)
    created_by: str
    created_at: datetime = time_field(index=True)
