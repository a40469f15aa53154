"""one truth: what scans share, what changed between them, misconfigurations, secrets, wasted space, owners."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_COUNTS = ("misconfiguration_count", "secret_count")
_DIFFERENCES = ("new_count", "fixed_count", "fix_available_count")
_TEXTS = {"compared_with": 40, "inventory_of": 40, "findings_of": 40, "evidence_key": 64, "advisory_key": 64}
_INDEXES = (["organization_id", "digest"], ["inventory_of"], ["findings_of"])


def upgrade() -> None:
    op.add_column("packages", sa.Column("owner", sa.String(length=300), nullable=True))
    _extend_scans()
    for table in ("scan_findings", "vulnerabilities"):
        op.add_column(table, sa.Column("severities", _JSON, nullable=False, server_default="{}"))
    op.add_column("scan_findings", sa.Column("is_new", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column(
        "vulnerabilities", sa.Column("statement_hash", sa.String(length=32), nullable=False, server_default="")
    )
    op.add_column("vulnerabilities", sa.Column("is_present", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.execute(
        "UPDATE vulnerabilities SET is_present = false WHERE last_seen_at <"
        " (SELECT last_scanned_at FROM images WHERE images.id = vulnerabilities.image_id)"
    )
    op.create_table(
        "scan_evidence",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(), nullable=False),
        sa.Column("unread", _JSON, nullable=False),
        sa.Column("checks", _JSON, nullable=False),
        sa.Column("efficiency", _JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_scan_evidence_organization_id")
        ),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_scan_evidence_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("scan_id", name=op.f("pk_scan_evidence")),
    )
    _create_findings(
        "misconfigurations",
        sa.Column("check_id", sa.String(length=100), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("evidence", _JSON, nullable=False),
        sa.Column("remediation", sa.String(length=2000), nullable=False),
    )
    _create_findings(
        "secrets",
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("masked", sa.String(length=300), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("place", sa.String(length=300), nullable=False),
    )


def _extend_scans() -> None:
    for name in _COUNTS:
        op.add_column("scans", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    for name in _DIFFERENCES:
        op.add_column("scans", sa.Column(name, sa.Integer(), nullable=True))
    for name, length in _TEXTS.items():
        op.add_column("scans", sa.Column(name, sa.String(length=length), nullable=True))
    for index in _INDEXES:
        op.create_index(op.f(f"ix_scans_{'_'.join(index)}"), "scans", index)


def _create_findings(table: str, *own: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("severity_key", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("layer_digest", sa.String(length=140), nullable=False),
        sa.Column("layer_index", sa.Integer(), nullable=False),
        sa.Column("sources", _JSON, nullable=False),
        *own,
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f(f"fk_{table}_organization_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f(f"fk_{table}_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_scan_id_severity_key_id"), table, ["scan_id", "severity_key", "id"])


def downgrade() -> None:
    """The older version knows no shared results: a scan that has none of its own loses its list of them."""
    for table in ("secrets", "misconfigurations", "scan_evidence"):
        op.drop_table(table)
    for name in ("is_present", "statement_hash", "severities"):
        op.drop_column("vulnerabilities", name)
    for name in ("is_new", "severities"):
        op.drop_column("scan_findings", name)
    for index in _INDEXES:
        op.drop_index(op.f(f"ix_scans_{'_'.join(index)}"), "scans")
    for name in (*_COUNTS, *_DIFFERENCES, *_TEXTS):
        op.drop_column("scans", name)
    op.drop_column("packages", "owner")
