"""the fair share of workers: what is due by organization, and when each was served last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

IS_DUE = sa.text("state = 'QUEUED'")
IS_RUNNING = sa.text("state = 'RUNNING'")
HAS_ENDED = sa.text("finished_at IS NOT NULL")
WAS_LEASED = sa.text("leased_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("leased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_leased",
        "jobs",
        ["organization_id", "leased_at"],
        sqlite_where=WAS_LEASED,
        postgresql_where=WAS_LEASED,
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["organization_id", "priority", "created_at", "id"],
        sqlite_where=IS_DUE,
        postgresql_where=IS_DUE,
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["organization_id"], sqlite_where=IS_RUNNING, postgresql_where=IS_RUNNING
    )
    op.create_index("ix_jobs_ended", "jobs", ["state"], sqlite_where=HAS_ENDED, postgresql_where=HAS_ENDED)
    op.drop_index(op.f("ix_jobs_state_priority_created_at_id"), "jobs")
    op.drop_index(op.f("ix_jobs_state_lease_expires_at"), "jobs")
    op.drop_index(op.f("ix_jobs_organization_id_state"), "jobs")


def downgrade() -> None:
    op.create_index(op.f("ix_jobs_state_priority_created_at_id"), "jobs", ["state", "priority", "created_at", "id"])
    op.create_index(op.f("ix_jobs_organization_id_state"), "jobs", ["organization_id", "state"])
    op.create_index(op.f("ix_jobs_state_lease_expires_at"), "jobs", ["state", "lease_expires_at"])
    for name in ("ix_jobs_due", "ix_jobs_running", "ix_jobs_ended", "ix_jobs_leased"):
        op.drop_index(name, "jobs")
    op.drop_column("jobs", "leased_at")
