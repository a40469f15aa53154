"""trusted keys, and the signed statements beside images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "trusted_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=40), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_trusted_keys_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trusted_keys")),
        sa.UniqueConstraint("organization_id", "fingerprint", name=op.f("uq_trusted_keys_organization_id_fingerprint")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_trusted_keys_organization_id_name")),
    )
    op.create_table(
        "image_statements",
        sa.Column("scan_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("predicate_type", sa.String(length=300), nullable=True),
        sa.Column("signed_by", sa.String(length=100), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("message", sa.String(length=500), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("found_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_image_statements_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["scan_id"], ["scans.id"], name=op.f("fk_image_statements_scan_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scan_id", "digest", name=op.f("pk_image_statements")),
    )
    op.create_index(
        op.f("ix_image_statements_organization_id_scan_id"), "image_statements", ["organization_id", "scan_id"]
    )


def downgrade() -> None:
    op.drop_table("image_statements")
    op.drop_table("trusted_keys")
