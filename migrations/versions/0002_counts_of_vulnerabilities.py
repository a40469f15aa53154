"""counts of vulnerabilities, and of the providers that agree on one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTED = "organization_id, {image}, severity, status, fixable"


def upgrade() -> None:
    op.create_table(
        "vulnerability_counts",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("fixable", sa.Boolean(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_vulnerability_counts_organization_id")
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "image_id", "severity", "status", "fixable", name=op.f("pk_vulnerability_counts")
        ),
    )
    length = "json_array_length" if op.get_bind().dialect.name == "sqlite" else "jsonb_array_length"
    for table in ("scan_findings", "vulnerabilities"):
        # The default lets a worker of the version before go on storing while this one is rolled out.
        op.add_column(table, sa.Column("agreement", sa.Integer(), nullable=False, server_default="1"))
        op.execute(f"UPDATE {table} SET agreement = {length}(sources)")
    for image, group in (("image_id", "image_id"), ("''", "organization_id")):
        op.execute(
            f"INSERT INTO vulnerability_counts SELECT {COUNTED.format(image=image)}, count(*) FROM vulnerabilities "
            f"GROUP BY {COUNTED.format(image=group)}"
        )


def downgrade() -> None:
    for table in ("vulnerabilities", "scan_findings"):
        op.drop_column(table, "agreement")
    op.drop_table("vulnerability_counts")
