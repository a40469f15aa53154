"""advisory feeds.

The tables of the store are built anew, because their keys change. What was imported before stays and is filed under the
feed `local`; it has no content hash, so the next import of the same records stores them once more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = (
    "advisory_packages",
    "advisories",
    "advisory_ecosystems",
    "advisory_imports",
)  # each before what it points to
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_FEED = "CASE WHEN source = 'harborguard-sample' THEN source ELSE 'local' END"
_CARRIED = (
    'summary, details, severity, cvss_score, cvss_vectors, "references", published_at, modified_at, withdrawn_at, '
    "import_id"
)


def upgrade() -> None:
    _set_aside()
    op.create_table(
        "advisory_feeds",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("validators", _JSON, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_advisory_feeds")),
    )
    op.create_table(
        "advisory_imports",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("feed", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["feed"], ["advisory_feeds.name"], name=op.f("fk_advisory_imports_feed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisory_imports")),
    )
    op.create_table(
        "advisory_ecosystems",
        sa.Column("feed", sa.String(length=120), nullable=False),
        sa.Column("ecosystem", sa.String(length=100), nullable=False),
        sa.Column("advisories", sa.Integer(), nullable=False),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["feed"], ["advisory_feeds.name"], name=op.f("fk_advisory_ecosystems_feed")),
        sa.PrimaryKeyConstraint("feed", "ecosystem", name=op.f("pk_advisory_ecosystems")),
    )
    op.create_table(
        "advisories",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("feed", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=True),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("cve", sa.String(length=60), nullable=True),
        sa.Column("aliases", _JSON, nullable=False),
        sa.Column("summary", sa.String(length=500), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("cvss_score", sa.Float(), nullable=True),
        sa.Column("cvss_vectors", _JSON, nullable=False),
        sa.Column("references", _JSON, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("import_id", sa.String(length=None), nullable=False),
        sa.ForeignKeyConstraint(["feed"], ["advisory_feeds.name"], name=op.f("fk_advisories_feed")),
        sa.ForeignKeyConstraint(["import_id"], ["advisory_imports.id"], name=op.f("fk_advisories_import_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_advisories")),
        sa.UniqueConstraint("feed", "id", "since", name=op.f("uq_advisories_feed_id_since")),
    )
    op.create_index(op.f("ix_advisories_cve"), "advisories", ["cve"])
    op.create_index(op.f("ix_advisories_feed_until_number"), "advisories", ["feed", "until", "number"])
    op.create_table(
        "advisory_packages",
        sa.Column("advisory", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *_package_columns(),
        sa.ForeignKeyConstraint(
            ["advisory"], ["advisories.number"], name=op.f("fk_advisory_packages_advisory"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("advisory", "position", name=op.f("pk_advisory_packages")),
    )
    op.create_index(op.f("ix_advisory_packages_ecosystem_name"), "advisory_packages", ["ecosystem", "name"])
    _carry_over()
    _forget_what_was_set_aside()


def _package_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("ecosystem", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("ranges", _JSON, nullable=False),
        sa.Column("versions", _JSON, nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=True),
        sa.Column("cvss_vectors", _JSON, nullable=False),
    )


def _set_aside() -> None:
    """Copies without keys: a renamed table would keep the names the new ones need."""
    for table in _TABLES:
        op.execute(f"CREATE TABLE {table}_before AS SELECT * FROM {table}")
    for table in _TABLES:
        op.drop_table(table)


def _forget_what_was_set_aside() -> None:
    for table in _TABLES:
        op.drop_table(f"{table}_before")


def _carry_over() -> None:
    op.execute(
        "INSERT INTO advisory_feeds (name, generation, records, rejected, validators, database_date, checked_at, changed_at)"
        f" SELECT {_FEED}, 1, 0, 0, '{{}}', max(database_date), max(finished_at), max(finished_at)"
        f" FROM advisory_imports_before GROUP BY {_FEED}"
    )
    op.execute(
        "INSERT INTO advisory_imports (id, feed, source, records, rejected, database_date, started_at, finished_at)"
        f" SELECT id, {_FEED}, source, records, rejected, database_date, started_at, finished_at"
        " FROM advisory_imports_before"
    )
    op.execute(
        f"INSERT INTO advisories (feed, id, since, content_hash, aliases, {_CARRIED})"
        f" SELECT i.feed, a.id, 1, '', a.aliases, {_CARRIED}"
        " FROM advisories_before a JOIN advisory_imports i ON i.id = a.import_id ORDER BY a.id"
    )
    op.execute(
        "INSERT INTO advisory_packages (advisory, position, ecosystem, name, ranges, versions, severity, cvss_vectors)"
        " SELECT a.number, p.position, p.ecosystem, p.name, p.ranges, p.versions, p.severity, p.cvss_vectors"
        " FROM advisory_packages_before p JOIN advisories a ON a.id = p.advisory_id"
    )
    op.execute(
        "UPDATE advisory_feeds SET records = (SELECT count(*) FROM advisories a WHERE a.feed = advisory_feeds.name)"
    )
    op.execute(
        "INSERT INTO advisory_ecosystems (feed, ecosystem, advisories, database_date, updated_at)"
        " SELECT a.feed, p.ecosystem, count(DISTINCT a.number), max(a.modified_at), max(i.started_at)"
        " FROM advisory_packages p JOIN advisories a ON a.number = p.advisory JOIN advisory_imports i ON i.id = a.import_id"
        " WHERE a.withdrawn_at IS NULL GROUP BY a.feed, p.ecosystem"
    )


def downgrade() -> None:
    """The older version knows no feeds: of a record that several have, the newest copy stays."""
    for table in _TABLES:
        op.execute(f"CREATE TABLE {table}_before AS SELECT * FROM {table}")
    op.execute(
        "CREATE TABLE advisories_chosen AS SELECT number, id FROM"
        " (SELECT a.number, a.id, row_number() OVER (PARTITION BY a.id ORDER BY a.modified_at DESC, a.number) AS place"
        " FROM advisories a JOIN advisory_feeds f ON f.name = a.feed"
        " WHERE a.since <= f.generation AND (a.until IS NULL OR a.until > f.generation)) ranked WHERE place = 1"
    )
    for table in (*_TABLES, "advisory_feeds"):
        op.drop_table(table)
    op.create_table(
        "advisory_ecosystems",
        sa.Column("ecosystem", sa.String(length=100), nullable=False),
        sa.Column("advisories", sa.Integer(), nullable=False),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sample", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("ecosystem", name=op.f("pk_advisory_ecosystems")),
    )
    op.create_table(
        "advisory_imports",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisory_imports")),
    )
    op.create_table(
        "advisories",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("aliases", _JSON, nullable=False),
        sa.Column("summary", sa.String(length=500), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("cvss_score", sa.Float(), nullable=True),
        sa.Column("cvss_vectors", _JSON, nullable=False),
        sa.Column("references", _JSON, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("import_id", sa.String(length=None), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["advisory_imports.id"], name=op.f("fk_advisories_import_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisories")),
    )
    op.create_index(op.f("ix_advisories_import_id"), "advisories", ["import_id"])
    op.create_table(
        "advisory_packages",
        sa.Column("advisory_id", sa.String(length=None), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *_package_columns(),
        sa.ForeignKeyConstraint(
            ["advisory_id"], ["advisories.id"], name=op.f("fk_advisory_packages_advisory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("advisory_id", "position", name=op.f("pk_advisory_packages")),
    )
    op.create_index(op.f("ix_advisory_packages_ecosystem_name"), "advisory_packages", ["ecosystem", "name"])
    _carry_back()
    op.drop_table("advisories_chosen")
    _forget_what_was_set_aside()


def _carry_back() -> None:
    op.execute(
        "INSERT INTO advisory_imports (id, source, records, rejected, database_date, started_at, finished_at)"
        " SELECT id, source, records, rejected, database_date, started_at, finished_at FROM advisory_imports_before"
    )
    op.execute(
        f"INSERT INTO advisories (id, aliases, {_CARRIED})"
        f" SELECT a.id, a.aliases, {_CARRIED}"
        " FROM advisories_before a JOIN advisories_chosen c ON c.number = a.number"
    )
    op.execute(
        "INSERT INTO advisory_packages (advisory_id, position, ecosystem, name, ranges, versions, severity, cvss_vectors)"
        " SELECT c.id, p.position, p.ecosystem, p.name, p.ranges, p.versions, p.severity, p.cvss_vectors"
        " FROM advisory_packages_before p JOIN advisories_chosen c ON c.number = p.advisory"
    )
    op.execute(
        "INSERT INTO advisory_ecosystems (ecosystem, advisories, database_date, sample, updated_at)"
        " SELECT ecosystem, sum(advisories), max(database_date),"
        " sum(CASE WHEN feed = 'harborguard-sample' THEN 0 ELSE 1 END) = 0, max(updated_at)"
        " FROM advisory_ecosystems_before GROUP BY ecosystem"
    )
