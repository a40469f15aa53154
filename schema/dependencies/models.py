"""What an image consists of, per scan: its packages and its layers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field

from schema.dependencies.records import PackageType
from schema.kernel.columns import TenantTable, enum_field, id_field, json_field


class Package(TenantTable, table=True):
    """One package in one place of one scanned image."""

    __tablename__ = "packages"
    __table_args__ = (Index(None, "scan_id", "name", "id"), Index(None, "organization_id", "type", "name"))

    id: str = id_field()
    scan_id: str = Field(foreign_key="scans.id", ondelete="CASCADE")
    name: str = Field(max_length=300)
    version: str = Field(max_length=300)
    type: PackageType = enum_field(PackageType, nullable=False)
    ecosystem: str | None = Field(default=None, max_length=100)
    source_name: str = Field(max_length=300)
    source_version: str = Field(max_length=300)
    purl: str = Field(max_length=1000)
    licenses: list[str] = json_field(nullable=False)
    architecture: str | None = Field(default=None, max_length=40)
    path: str = Field(max_length=4096)
    layer_digest: str = Field(max_length=140)
    layer_index: int
    sources: list[str] = json_field(nullable=False)
    owner: str | None = Field(default=None, max_length=300)  # the distribution's package that brought a language's


class Layer(TenantTable, table=True):
    """One layer of a scanned image, lowest first. Sizes in bytes."""

    __tablename__ = "layers"
    __table_args__ = (UniqueConstraint("scan_id", "index"),)

    id: str = id_field()
    scan_id: str = Field(foreign_key="scans.id", ondelete="CASCADE")
    index: int
    digest: str = Field(max_length=140)
    diff_id: str = Field(max_length=140)
    size_bytes: int = Field(sa_type=BigInteger)
    diff_size_bytes: int = Field(sa_type=BigInteger)
    file_count: int
    created_by: str = Field(max_length=4000)
