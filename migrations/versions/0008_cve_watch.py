"""the CVE watch: settings and alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cve_watches",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("min_severity", sa.String(length=32), nullable=False),
        sa.Column("sources", _JSON, nullable=False),
        sa.Column("polled_at", _TIME, nullable=True),
        sa.Column("updated_by", sa.String(length=100), nullable=True),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_cve_watches_organization_id")),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_cve_watches")),
    )
    op.create_table(
        "cve_alerts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("cve_id", sa.String(length=60), nullable=False),
        sa.Column("package_name", sa.String(length=300), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("severity_key", sa.Integer(), nullable=False),
        sa.Column("cvss", sa.Float(), nullable=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("kev", sa.Boolean(), nullable=False),
        sa.Column("fixed_version", sa.String(length=300), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("published_at", _TIME, nullable=True),
        sa.Column("detected_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("changes", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_cve_alerts_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cve_alerts")),
        sa.UniqueConstraint("organization_id", "cve_id", name=op.f("uq_cve_alerts_organization_id_cve_id")),
    )
    for column in ("detected_at", "severity_key"):
        name = op.f(f"ix_cve_alerts_organization_id_{column}_id")
        op.create_index(name, "cve_alerts", ["organization_id", column, "id"])


def downgrade() -> None:
    op.drop_table("cve_alerts")
    op.drop_table("cve_watches")
