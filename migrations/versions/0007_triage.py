"""triage, deadlines, attestations, events, what is known of CVEs, and figures by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_GROUP = ("severity", "status", "fixable")
_FLAGS = ("excepted", "has_deadline", "breached")
_RUNNING = "due_at IS NOT NULL AND exception_id IS NULL AND status IN ('OPEN', 'ACKNOWLEDGED', 'IN_PROGRESS')"
# The deadlines of the policy that everybody has until they set one of their own.
_DAYS = {"CRITICAL": 1, "HIGH": 3, "MEDIUM": 7, "LOW": 14}


def upgrade() -> None:
    _vulnerabilities()
    _counts(*_FLAGS)
    _triage()
    _attestations()
    _organizations()
    _cves()


def _text(
    name: str, length: int | None = None, *, nullable: bool = False, default: str | None = None
) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable, server_default=default)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _TIME, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _create(table: str, *parts: sa.schema.SchemaItem, key: tuple[str, ...] = ("id",)) -> None:
    """A table of a tenant."""
    op.create_table(
        table,
        _text("organization_id"),
        *parts,
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f(f"fk_{table}_organization_id")),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
    )


def _refers(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"), ondelete=ondelete)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _partial(table: str, name: str, columns: tuple[str, ...], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(f"ix_{table}_{name}", table, list(columns), sqlite_where=where, postgresql_where=where)


def _vulnerabilities() -> None:
    for column in (
        _time("reopened_at", nullable=True),
        _text("assignee_id", 40, nullable=True),
        _text("triage_reason", 500, nullable=True),
        _text("triaged_by", 100, nullable=True),
        _time("triaged_at", nullable=True),
        _text("rule_id", 40, nullable=True),
        _time("due_at", nullable=True),
        sa.Column("due_by_hand", sa.Boolean(), nullable=False, server_default=sa.false()),
        _time("warned_at", nullable=True),
        _time("breached_at", nullable=True),
        _text("exception_id", 40, nullable=True),
    ):
        op.add_column("vulnerabilities", column)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for severity, days in _DAYS.items():
        due = (
            f"strftime('%Y-%m-%d %H:%M:%f', detected_at, '+{days} days') || '000'"
            if is_sqlite
            else f"detected_at + interval '{days} days'"
        )
        op.execute(f"UPDATE vulnerabilities SET due_at = {due} WHERE severity = '{severity}' AND status = 'OPEN'")
    _index("vulnerabilities", "organization_id", "package_name", "id")
    for name, columns, condition in (
        ("breaching", ("organization_id", "due_at"), f"{_RUNNING} AND breached_at IS NULL"),
        ("warning", ("organization_id", "due_at"), f"{_RUNNING} AND breached_at IS NULL AND warned_at IS NULL"),
        ("assigned", ("organization_id", "assignee_id", "id"), "assignee_id IS NOT NULL"),
        ("excepted", ("exception_id", "id"), "exception_id IS NOT NULL"),
        ("decided", ("rule_id", "id"), "rule_id IS NOT NULL"),
    ):
        _partial("vulnerabilities", name, columns, condition)
    _create(
        "flaw_texts",
        _text("cve_id", 60),
        _text("package_name", 300),
        _text("title", 500),
        key=("organization_id", "cve_id", "package_name"),
    )
    op.execute(
        "INSERT INTO flaw_texts (organization_id, cve_id, package_name, title) SELECT organization_id, cve_id,"
        " package_name, max(title) FROM vulnerabilities GROUP BY organization_id, cve_id, package_name"
    )
    for table in ("images", "tags", "scans"):
        op.add_column(table, sa.Column("excepted", sa.Integer(), nullable=False, server_default="0"))


def _counts(*flags: str) -> None:
    """The table of counts anew, with these flags beside what it had, and counted anew."""
    op.drop_table("vulnerability_counts")
    _create(
        "vulnerability_counts",
        _text("image_id"),
        _text("severity", 32),
        _text("status", 32),
        _flag("fixable"),
        *(_flag(name) for name in flags),
        _number("count"),
        key=("organization_id", "image_id", *_GROUP, *flags),
    )
    told = ["exception_id IS NOT NULL", "due_at IS NOT NULL", "breached_at IS NOT NULL"] if flags else []
    read = ", ".join((*_GROUP, *told))
    into = ", ".join(("organization_id", "image_id", *_GROUP, *flags, "count"))
    for image, group in (("image_id", "organization_id, image_id"), ("''", "organization_id")):
        op.execute(
            f"INSERT INTO vulnerability_counts ({into}) SELECT organization_id, {image}, {read}, count(*)"
            f" FROM vulnerabilities GROUP BY {group}, {read}"
        )


def _triage() -> None:
    _create(
        "triage_events",
        _text("id"),
        _text("vulnerability_id"),
        _text("operation_id", 40, nullable=True),
        _text("origin", 32),
        _text("actor", 100),
        _text("from_status", 32),
        _text("to_status", 32),
        sa.Column("before", _JSON, nullable=False),
        sa.Column("after", _JSON, nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        _time("created_at"),
        _refers("triage_events", "vulnerability_id", "vulnerabilities.id", "CASCADE"),
    )
    _index("triage_events", "vulnerability_id", "id")
    _index("triage_events", "operation_id", "id")
    _create(
        "triage_operations",
        _text("id"),
        _text("actor", 100),
        _number("changed"),
        sa.Column("comment", sa.Text(), nullable=True),
        _time("created_at"),
        _text("undoes", 40, nullable=True),
        _time("undone_at", nullable=True),
    )
    _index("triage_operations", "organization_id", "created_at", "id")
    _create(
        "triage_rules",
        _text("id"),
        _text("cve_id", 60, nullable=True),
        _text("package_name", 300, nullable=True),
        _text("image_id", nullable=True),
        _text("tag_pattern", 1000, nullable=True),
        _text("decision", 32),
        _text("assignee_id", nullable=True),
        _text("reason", 500, nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        _text("status", 32),
        _time("expires_at", nullable=True),
        _text("created_by", 100),
        _time("created_at"),
        _text("decided_by", 100, nullable=True),
        _time("decided_at", nullable=True),
        _refers("triage_rules", "image_id", "images.id", "CASCADE"),
        _refers("triage_rules", "assignee_id", "users.id"),
    )
    _index("triage_rules", "organization_id", "created_at", "id")
    _partial("triage_rules", "limited", ("expires_at",), "status = 'ACTIVE' AND expires_at IS NOT NULL")
    _create(
        "saved_filters",
        _text("id"),
        _text("owner", 100),
        _text("name", 100),
        _flag("shared"),
        _text("query", 4000),
        _time("created_at"),
        _time("updated_at"),
    )
    _index("saved_filters", "organization_id", "name", "id")


def _attestations() -> None:
    _create(
        "attestations",
        _text("id"),
        _text("cve_id", 60),
        _text("package_name", 300),
        _text("category", 32),
        _text("reason", 4000),
        sa.Column("evidence", sa.Text(), nullable=True),
        _text("scope_type", 32),
        _text("tag_id", nullable=True),
        _time("as_of", nullable=True),
        _time("expires_at", nullable=True),
        _time("expiry_notice_at", nullable=True),
        _text("status", 32),
        _text("attested_by", 100),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("history", _JSON, nullable=False),
        sa.Column("statement", _JSON, nullable=True),
        _refers("attestations", "tag_id", "tags.id", "CASCADE"),
    )
    _index("attestations", "organization_id", "created_at", "id")
    _index("attestations", "organization_id", "cve_id", "package_name")
    _partial("attestations", "expiring", ("expires_at",), "status = 'ACTIVE' AND expires_at IS NOT NULL")


def _organizations() -> None:
    _create(
        "compliance_policies",
        *(_number(f"{severity}_days") for severity in ("critical", "high", "medium")),
        _number("low_days", nullable=True),
        _flag("auto_sla_deadline"),
        _number("sla_breach_lead_time_days"),
        _number("freshness_threshold_days"),
        _number("report_retention_days"),
        *(
            sa.Column(name, _JSON, nullable=False)
            for name in ("active_framework", "sla_breach_channels", "sla_warning_channels")
        ),
        _flag("rules_need_approval"),
        _text("updated_by", 100, nullable=True),
        _time("updated_at", nullable=True),
        key=("organization_id",),
    )
    _create(
        "events",
        _text("id"),
        _text("type", 32),
        _text("subject", 100),
        _text("key", 200),
        sa.Column("details", _JSON, nullable=False),
        _time("created_at"),
        _unique("events", "organization_id", "type", "key"),
    )
    _index("events", "organization_id", "created_at", "id")
    _create(
        "daily_flows",
        _text("day", 10),
        _text("severity", 32),
        _text("flow", 32),
        sa.Column("count", sa.BigInteger(), nullable=False),
        key=("organization_id", "day", "severity", "flow"),
    )
    _create(
        "posture_days",
        _text("day", 10),
        _time("taken_at"),
        *(_number(severity) for severity in ("critical", "high", "medium", "low", "unknown")),
        *(_number(name) for name in ("overdue", "with_deadline", "breached", "exceptions")),
        *(_number(name) for name in ("total_tags", "fresh_tags", "risk_score")),
        key=("organization_id", "day"),
    )


def _cves() -> None:
    op.create_table(
        "cves",
        _text("id", 60),
        sa.Column("epss", sa.Float(), nullable=True),
        sa.Column("epss_percentile", sa.Float(), nullable=True),
        sa.Column("kev", sa.Boolean(), nullable=False, server_default=sa.false()),
        _time("kev_added_at", nullable=True),
        _time("kev_due_at", nullable=True),
        sa.Column("ransomware", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cves")),
    )
    _partial("cves", "kev", ("id",), "kev")
    _index("cves", "epss")


def downgrade() -> None:
    for table in (
        "cves",
        "posture_days",
        "daily_flows",
        "events",
        "compliance_policies",
        "attestations",
        "saved_filters",
        "triage_rules",
        "triage_operations",
        "triage_events",
        "flaw_texts",
    ):
        op.drop_table(table)
    for table in ("images", "tags", "scans"):
        op.drop_column(table, "excepted")
    _counts()
    for name in ("organization_id_package_name_id", "breaching", "warning", "assigned", "excepted", "decided"):
        op.drop_index(f"ix_vulnerabilities_{name}", "vulnerabilities")
    for column in (
        "reopened_at",
        "assignee_id",
        "triage_reason",
        "triaged_by",
        "triaged_at",
        "rule_id",
        "due_at",
        "due_by_hand",
        "warned_at",
        "breached_at",
        "exception_id",
    ):
        op.drop_column("vulnerabilities", column)
