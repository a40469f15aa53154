"""registries, their catalogue, batches of scans, and sensors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _registries()
    _catalogue()
    _batches()
    _sensors()


def _text(
    name: str, length: int | None = None, *, nullable: bool = False, default: str | None = None
) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable, server_default=default)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _TIME, nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _create(table: str, *parts: sa.schema.SchemaItem, key: str = "id") -> None:
    """A table of a tenant."""
    op.create_table(
        table,
        _text("organization_id"),
        *parts,
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f(f"fk_{table}_organization_id")),
        sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
    )


def _refers(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"), ondelete=ondelete)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _registries() -> None:
    for column in (
        _text("url", 500, default=""),
        sa.Column("options", _JSON, nullable=False, server_default="{}"),
        _text("scan_method", 32, default="cloud"),
        sa.Column("scanners", _JSON, nullable=False, server_default="[]"),
        _text("tag_include", 1000, default="*"),
        _text("tag_exclude", 1000, default=""),
        _text("schedule", 32, default="manual"),
        _text("cron", 200, nullable=True),
        _text("time_zone", 60, default="UTC"),
        _time("next_run_at", nullable=True),
        sa.Column("sealed_webhook_secret", _JSON, nullable=True),
        _text("status", 32, default="DISCONNECTED"),
        _text("status_message", 2000, nullable=True),
        sa.Column("health", sa.Integer(), nullable=True),
        _time("last_sync_at", nullable=True),
    ):
        op.add_column("registries", column)
    op.execute(
        "UPDATE registries SET url = CASE WHEN insecure THEN 'http://' ELSE 'https://' END || host WHERE url = ''"
    )
    _index("registries", "organization_id", "created_at", "id")
    _index("registries", "next_run_at")
    _create(
        "registry_syncs",
        _text("id"),
        _text("registry_id"),
        _text("status", 32),
        _text("position", 400, nullable=True),
        *(
            _number(name)
            for name in ("repositories_found", "repositories_done", "tags_found", "tags_new", "tags_moved", "tags_gone")
        ),
        _text("message", 2000, nullable=True),
        _text("requested_by"),
        sa.Column("scans_after", sa.Boolean(), nullable=False),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("ended_at", nullable=True),
        _refers("registry_syncs", "registry_id", "registries.id", "CASCADE"),
    )
    _index("registry_syncs", "organization_id", "registry_id", "created_at", "id")
    _index("registry_syncs", "registry_id")
    _create(
        "registry_events",
        _text("id"),
        _text("registry_id"),
        _text("fingerprint", 64),
        sa.Column("images", _JSON, nullable=False),
        _text("outcome", 300),
        _time("received_at"),
        _refers("registry_events", "registry_id", "registries.id", "CASCADE"),
        _unique("registry_events", "registry_id", "fingerprint"),
    )
    _index("registry_events", "organization_id", "registry_id", "received_at", "id")
    _index("registry_events", "received_at")


def _catalogue() -> None:
    op.add_column("images", _time("absent_since", nullable=True))
    op.add_column("tags", _text("source_digest", 140, nullable=True))
    op.add_column("tags", _time("absent_since", nullable=True))
    _create(
        "tag_digests",
        _text("id"),
        _text("tag_id"),
        _text("digest", 140),
        _time("since"),
        _time("until", nullable=True),
        _refers("tag_digests", "tag_id", "tags.id", "CASCADE"),
    )
    _index("tag_digests", "organization_id", "tag_id", "since", "id")
    _index("tag_digests", "tag_id")
    _create(
        "manifests",
        _text("id"),
        _text("image_id"),
        _text("index_digest", 140),
        _text("digest", 140),
        _text("platform", 60),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _refers("manifests", "image_id", "images.id", "CASCADE"),
        _unique("manifests", "organization_id", "image_id", "index_digest", "digest"),
    )
    _index("manifests", "image_id")


def _batches() -> None:
    for name, length in (("batch_id", 40), ("external_id", 100), ("sensor_id", 40)):
        op.add_column("scans", _text(name, length, nullable=True))
    _index("scans", "organization_id", "batch_id")
    op.create_index(
        op.f("ix_scans_organization_id_external_id"), "scans", ["organization_id", "external_id"], unique=True
    )
    _create(
        "scan_batches",
        _text("id"),
        _text("images", 1000),
        _text("tag_include", 1000),
        _text("tag_exclude", 1000),
        _text("registry_id", 40, nullable=True),
        sa.Column("scanners", _JSON, nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        _time("unscanned_since", nullable=True),
        _text("position", 40),
        _text("message", 2000, nullable=True),
        _text("requested_by"),
        _time("created_at"),
        _time("selected_at", nullable=True),
        _time("cancelled_at", nullable=True),
    )
    _index("scan_batches", "organization_id", "created_at", "id")


def _sensors() -> None:
    _create(
        "sensors",
        _text("id"),
        _text("api_key_id"),
        _text("registry_id", nullable=True),
        _text("identity", 200),
        _text("name", 200),
        _text("hostname", 300),
        _text("os", 50),
        _text("arch", 50),
        _text("version", 100),
        sa.Column("capabilities", _JSON, nullable=False),
        sa.Column("scanner_versions", _JSON, nullable=False),
        _text("registry_url", 500, nullable=True),
        _text("public_key", 60, nullable=True),
        _number("active_scans"),
        sa.Column("uptime_seconds", sa.BigInteger(), nullable=False),
        _time("registered_at"),
        _time("last_seen_at"),
        _time("lost_at", nullable=True),
        _time("created_at"),
        _refers("sensors", "api_key_id", "api_keys.id", "CASCADE"),
        _refers("sensors", "registry_id", "registries.id", "SET NULL"),
        _unique("sensors", "api_key_id", "identity"),
    )
    _index("sensors", "organization_id", "created_at", "id")
    _index("sensors", "last_seen_at")
    _create(
        "sensor_jobs",
        _text("scan_id"),
        _text("registry_id", nullable=True),
        _text("state", 32),
        _number("priority"),
        _number("attempt"),
        _number("max_attempts"),
        _text("sensor_id", nullable=True),
        _time("lease_expires_at", nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        _text("message", 2000, nullable=True),
        _time("created_at"),
        _time("ended_at", nullable=True),
        _refers("sensor_jobs", "scan_id", "scans.id", "CASCADE"),
        _refers("sensor_jobs", "registry_id", "registries.id", "CASCADE"),
        _refers("sensor_jobs", "sensor_id", "sensors.id", "SET NULL"),
        key="scan_id",
    )
    _index("sensor_jobs", "organization_id", "registry_id", "state", "priority", "created_at")
    _index("sensor_jobs", "state", "lease_expires_at")


def downgrade() -> None:
    for table in (
        "sensor_jobs",
        "sensors",
        "scan_batches",
        "manifests",
        "tag_digests",
        "registry_events",
        "registry_syncs",
    ):
        op.drop_table(table)
    op.drop_index(op.f("ix_scans_organization_id_external_id"), "scans")
    op.drop_index(op.f("ix_scans_organization_id_batch_id"), "scans")
    op.drop_index(op.f("ix_registries_next_run_at"), "registries")
    for table, columns in (
        ("scans", ("batch_id", "external_id", "sensor_id")),
        ("tags", ("source_digest", "absent_since")),
        ("images", ("absent_since",)),
        (
            "registries",
            (
                "url",
                "options",
                "scan_method",
                "scanners",
                "tag_include",
                "tag_exclude",
                "schedule",
                "cron",
                "time_zone",
                "next_run_at",
                "sealed_webhook_secret",
                "status",
                "status_message",
                "health",
                "last_sync_at",
            ),
        ),
    ):
        for column in columns:
            op.drop_column(table, column)
