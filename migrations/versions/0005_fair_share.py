"""the fair share of workers: what is due by organization, and when each was served last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

IS_DUE = sa.text("state = 'QUEUED'")
IS_RUNNING = sa.text("state = 'RUNNING'")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("leased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_jobs_organization_id_leased_at"), "jobs", ["organization_id", "leased_at"])
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["organization_id", "priority", "created_at", "id"],
        sqlite_where=IS_DUE,
        postgresql_where=IS_DUE,
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["lease_expires_at"], sqlite_where=IS_RUNNING, postgresql_where=IS_RUNNING
    )
    op.drop_index(op.f("ix_jobs_state_priority_created_at_id"), "jobs")
    op.drop_index(op.f("ix_jobs_state_lease_expires_at"), "jobs")


def downgrade() -> None:
    op.create_index(
        op.f("ix_jobs_state_priority_created_at_id"), "jobs", ["state", "priority", "created_at", "id"]
    )
    op.create_index(op.f("ix_jobs_state_lease_expires_at"), "jobs", ["state", "lease_expires_at"])
    op.drop_index("ix_jobs_running", "jobs")
    op.drop_index("ix_jobs_due", "jobs")
    op.drop_index(op.f("ix_jobs_organization_id_leased_at"), "jobs")
    op.drop_column("jobs", "leased_at")
