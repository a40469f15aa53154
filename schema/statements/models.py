"""What others have signed about an image: whose word counts, and what was found beside the image in its registry."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, String, Text

from schema.kernel.columns import TenantTable, enum_field, id_field, time_field


class StatementOutcome(StrEnum):
    """Published, so append-only."""

    VERIFIED = "verified"  # a trusted key signed it, and it is about this image
    UNTRUSTED = "untrusted"  # no trusted key signed it
    OTHER_IMAGE = "other_image"  # it is signed, and about something else
    UNREADABLE = "unreadable"  # it is no signed statement


class TrustedKey(TenantTable, table=True):
    """A public key whose signatures an organization believes."""

    __tablename__ = "trusted_keys"
    __table_args__ = (
        UniqueConstraint("organization_id", "fingerprint"),
        UniqueConstraint("organization_id", "name"),
    )

    id: str = id_field()
    organization_id: str = Field(foreign_key="organizations.id", sa_type=String)
    name: str = Field(max_length=100)
    pem: str = Field(sa_type=Text)  # SubjectPublicKeyInfo
    fingerprint: str = Field(max_length=64)  # SHA-256 of its DER, hex: what `keyid` of our own signatures is
    algorithm: str = Field(max_length=40)
    created_by: str = Field(max_length=100)
    created_at: datetime = time_field()


class ImageStatement(TenantTable, table=True):
    """A statement beside the image of a scan, as it was when the scan looked: a key that is trusted later changes nothing."""

    __tablename__ = "image_statements"
    __table_args__ = (Index(None, "organization_id", "scan_id"),)

    scan_id: str = Field(primary_key=True, foreign_key="scans.id", ondelete="CASCADE", sa_type=String)
    digest: str = Field(primary_key=True, max_length=140)  # of the envelope
    organization_id: str = Field(foreign_key="organizations.id", sa_type=String)
    outcome: StatementOutcome = enum_field(StatementOutcome, nullable=False)
    predicate_type: str | None = Field(default=None, max_length=300)
    signed_by: str | None = Field(default=None, max_length=100)  # the name of the trusted key then
    fingerprint: str | None = Field(default=None, max_length=64)
    message: str = Field(max_length=500)
    size_bytes: int
    found_at: datetime = time_field()
