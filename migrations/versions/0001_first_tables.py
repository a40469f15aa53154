"""first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
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
        "organizations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("plan", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("topic", sa.String(length=None), nullable=False),
        sa.Column("payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_table(
        "setup_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_setup_tokens")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "advisories",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("aliases", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("summary", sa.String(length=500), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("cvss_score", sa.Float(), nullable=True),
        sa.Column("cvss_vectors", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("references", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("import_id", sa.String(length=None), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["advisory_imports.id"], name=op.f("fk_advisories_import_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisories")),
    )
    with op.batch_alter_table("advisories", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_advisories_import_id"), ["import_id"], unique=False)

    op.create_table(
        "audit_events",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=True),
        sa.Column("details", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_audit_events_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_audit_events_organization_id_created_at_id"),
            ["organization_id", "created_at", "id"],
            unique=False,
        )

    op.create_table(
        "idempotent_answers",
        sa.Column("organization_id", sa.String(length=None), nullable=False),
        sa.Column("actor", sa.String(length=None), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_idempotent_answers_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "actor", "key", name=op.f("pk_idempotent_answers")),
    )
    with op.batch_alter_table("idempotent_answers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotent_answers_created_at"), ["created_at"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_jobs_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("kind", "subject_id", name=op.f("uq_jobs_kind_subject_id")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_organization_id_state"), ["organization_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_state_lease_expires_at"), ["state", "lease_expires_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_jobs_state_priority_created_at_id"), ["state", "priority", "created_at", "id"], unique=False
        )

    op.create_table(
        "memberships",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(length=None), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_memberships_organization_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("organization_id", "user_id", name=op.f("uq_memberships_organization_id_user_id")),
    )
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_memberships_user_id"), ["user_id"], unique=False)

    op.create_table(
        "personal_access_tokens",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(length=None), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("permissions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("prefix", sa.String(length=10), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_personal_access_tokens_organization_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_personal_access_tokens_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_access_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_personal_access_tokens_token_hash")),
    )
    with op.batch_alter_table("personal_access_tokens", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_personal_access_tokens_organization_id_user_id_created_at_id"),
            ["organization_id", "user_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_personal_access_tokens_user_id"), ["user_id"], unique=False)

    op.create_table(
        "registries",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=300), nullable=False),
        sa.Column("insecure", sa.Boolean(), nullable=False),
        sa.Column("username", sa.String(length=300), nullable=True),
        sa.Column("sealed_password", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_registries_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_registries_organization_id_name")),
    )
    op.create_table(
        "sessions",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(length=None), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_sessions_organization_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_sessions_organization_id_user_id_created_at_id"),
            ["organization_id", "user_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_sessions_user_id"), ["user_id"], unique=False)

    op.create_table(
        "uploads",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("image", sa.String(length=400), nullable=False),
        sa.Column("blob", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=None), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_uploads_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_uploads_created_at"), ["created_at"], unique=False)

    op.create_table(
        "advisory_packages",
        sa.Column("advisory_id", sa.String(length=None), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("ecosystem", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("ranges", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("versions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=True),
        sa.Column("cvss_vectors", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["advisory_id"], ["advisories.id"], name=op.f("fk_advisory_packages_advisory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("advisory_id", "position", name=op.f("pk_advisory_packages")),
    )
    with op.batch_alter_table("advisory_packages", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_advisory_packages_ecosystem_name"), ["ecosystem", "name"], unique=False)

    op.create_table(
        "api_keys",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("prefix", sa.String(length=10), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("registry_id", sa.String(length=None), nullable=True),
        sa.Column("created_by", sa.String(length=None), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_api_keys_organization_id")),
        sa.ForeignKeyConstraint(["registry_id"], ["registries.id"], name=op.f("fk_api_keys_registry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_keys_token_hash")),
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_api_keys_organization_id_created_at_id"),
            ["organization_id", "created_at", "id"],
            unique=False,
        )

    op.create_table(
        "images",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("grade", sa.String(length=32), nullable=True),
        sa.Column("risk_score", sa.Integer(), nullable=True),
        sa.Column("grade_key", sa.String(length=1), nullable=False),
        sa.Column("risk_key", sa.Integer(), nullable=False),
        sa.Column("critical", sa.Integer(), nullable=False),
        sa.Column("high", sa.Integer(), nullable=False),
        sa.Column("medium", sa.Integer(), nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("fixable", sa.Integer(), nullable=False),
        sa.Column("kev", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("registry_id", sa.String(length=None), nullable=True),
        sa.Column("tag_count", sa.Integer(), nullable=False),
        sa.Column("latest_tag", sa.String(length=128), nullable=True),
        sa.Column("latest_digest", sa.String(length=140), nullable=True),
        sa.Column("last_scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_images_organization_id")),
        sa.ForeignKeyConstraint(["registry_id"], ["registries.id"], name=op.f("fk_images_registry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_images_organization_id_name")),
    )
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_images_organization_id_created_at_id"), ["organization_id", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_images_organization_id_risk_key_id"), ["organization_id", "risk_key", "id"], unique=False
        )

    op.create_table(
        "digests",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(length=None), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("platform", sa.String(length=60), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("operating_system", sa.String(length=200), nullable=True),
        sa.Column("config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_digests_image_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_digests_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digests")),
        sa.UniqueConstraint(
            "organization_id", "image_id", "digest", name=op.f("uq_digests_organization_id_image_id_digest")
        ),
    )
    with op.batch_alter_table("digests", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_digests_image_id"), ["image_id"], unique=False)

    op.create_table(
        "tags",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("grade", sa.String(length=32), nullable=True),
        sa.Column("risk_score", sa.Integer(), nullable=True),
        sa.Column("grade_key", sa.String(length=1), nullable=False),
        sa.Column("risk_key", sa.Integer(), nullable=False),
        sa.Column("critical", sa.Integer(), nullable=False),
        sa.Column("high", sa.Integer(), nullable=False),
        sa.Column("medium", sa.Integer(), nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("fixable", sa.Integer(), nullable=False),
        sa.Column("kev", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(length=None), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=True),
        sa.Column("last_scan_id", sa.String(length=40), nullable=True),
        sa.Column("last_scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_tags_image_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_tags_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("organization_id", "image_id", "name", name=op.f("uq_tags_organization_id_image_id_name")),
    )
    with op.batch_alter_table("tags", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tags_image_id"), ["image_id"], unique=False)

    op.create_table(
        "vulnerabilities",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(length=None), nullable=False),
        sa.Column("cve_id", sa.String(length=60), nullable=False),
        sa.Column("aliases", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("advisory_ids", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("severity_key", sa.Integer(), nullable=False),
        sa.Column("cvss", sa.Float(), nullable=True),
        sa.Column("cvss_key", sa.Float(), nullable=False),
        sa.Column("cvss_vectors", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("package_name", sa.String(length=300), nullable=False),
        sa.Column("package_version", sa.String(length=300), nullable=False),
        sa.Column("package_type", sa.String(length=32), nullable=False),
        sa.Column("fixed_versions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("fixable", sa.Boolean(), nullable=False),
        sa.Column("sources", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remediated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_vulnerabilities_image_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_vulnerabilities_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vulnerabilities")),
        sa.UniqueConstraint(
            "organization_id",
            "image_id",
            "cve_id",
            "package_name",
            "package_version",
            "package_type",
            name=op.f("uq_vulnerabilities_organization_id_image_id_cve_id_package_name_package_version_package_type"),
        ),
    )
    with op.batch_alter_table("vulnerabilities", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vulnerabilities_image_id"), ["image_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_vulnerabilities_organization_id_cve_id_id"),
            ["organization_id", "cve_id", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_vulnerabilities_organization_id_cvss_key_id"),
            ["organization_id", "cvss_key", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_vulnerabilities_organization_id_detected_at_id"),
            ["organization_id", "detected_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_vulnerabilities_organization_id_severity_key_id"),
            ["organization_id", "severity_key", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_vulnerabilities_organization_id_status_id"),
            ["organization_id", "status", "id"],
            unique=False,
        )

    op.create_table(
        "scans",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("grade", sa.String(length=32), nullable=True),
        sa.Column("risk_score", sa.Integer(), nullable=True),
        sa.Column("grade_key", sa.String(length=1), nullable=False),
        sa.Column("risk_key", sa.Integer(), nullable=False),
        sa.Column("critical", sa.Integer(), nullable=False),
        sa.Column("high", sa.Integer(), nullable=False),
        sa.Column("medium", sa.Integer(), nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("fixable", sa.Integer(), nullable=False),
        sa.Column("kev", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(length=None), nullable=False),
        sa.Column("tag_id", sa.String(length=None), nullable=True),
        sa.Column("reference", sa.String(length=400), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=True),
        sa.Column("platform", sa.String(length=60), nullable=True),
        sa.Column("scanners", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("source_kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=1000), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("failure_code", sa.String(length=32), nullable=True),
        sa.Column("failure_reason", sa.String(length=2000), nullable=True),
        sa.Column("grade_reason", sa.String(length=2000), nullable=True),
        sa.Column("package_count", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(length=None), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_scans_image_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_scans_organization_id")),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_scans_tag_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
    )
    with op.batch_alter_table("scans", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_scans_organization_id_grade_key_id"), ["organization_id", "grade_key", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_scans_organization_id_image_id_ordered_at"),
            ["organization_id", "image_id", "ordered_at"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_scans_organization_id_ordered_at_id"), ["organization_id", "ordered_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_scans_organization_id_risk_key_id"), ["organization_id", "risk_key", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_scans_organization_id_status_ordered_at_id"),
            ["organization_id", "status", "ordered_at", "id"],
            unique=False,
        )

    op.create_table(
        "engine_runs",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(length=None), nullable=False),
        sa.Column("engine", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("provider", sa.String(length=100), nullable=True),
        sa.Column("message", sa.String(length=2000), nullable=True),
        sa.Column("database_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("coverage", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("finding_count", sa.Integer(), nullable=False),
        sa.Column("package_count", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_engine_runs_organization_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_engine_runs_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engine_runs")),
        sa.UniqueConstraint("scan_id", "engine", name=op.f("uq_engine_runs_scan_id_engine")),
    )
    op.create_table(
        "layers",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(length=None), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("diff_id", sa.String(length=140), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("diff_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=4000), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_layers_organization_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_layers_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layers")),
        sa.UniqueConstraint("scan_id", "index", name=op.f("uq_layers_scan_id_index")),
    )
    op.create_table(
        "packages",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(length=None), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("version", sa.String(length=300), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("ecosystem", sa.String(length=100), nullable=True),
        sa.Column("source_name", sa.String(length=300), nullable=False),
        sa.Column("source_version", sa.String(length=300), nullable=False),
        sa.Column("purl", sa.String(length=1000), nullable=False),
        sa.Column("licenses", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("architecture", sa.String(length=40), nullable=True),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("layer_digest", sa.String(length=140), nullable=False),
        sa.Column("layer_index", sa.Integer(), nullable=False),
        sa.Column("sources", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_packages_organization_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_packages_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packages")),
    )
    with op.batch_alter_table("packages", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_packages_organization_id_type_name"), ["organization_id", "type", "name"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_packages_scan_id_name_id"), ["scan_id", "name", "id"], unique=False)

    op.create_table(
        "scan_findings",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(length=None), nullable=False),
        sa.Column("vulnerability_id", sa.String(length=None), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("severity_key", sa.Integer(), nullable=False),
        sa.Column("sources", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("engines", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("layer_digest", sa.String(length=140), nullable=False),
        sa.Column("layer_index", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_scan_findings_organization_id")
        ),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_scan_findings_scan_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["vulnerability_id"],
            ["vulnerabilities.id"],
            name=op.f("fk_scan_findings_vulnerability_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_findings")),
        sa.UniqueConstraint("scan_id", "vulnerability_id", name=op.f("uq_scan_findings_scan_id_vulnerability_id")),
    )
    with op.batch_alter_table("scan_findings", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_scan_findings_scan_id_severity_key_id"), ["scan_id", "severity_key", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_scan_findings_vulnerability_id_scan_id"), ["vulnerability_id", "scan_id"], unique=False
        )

    op.create_table(
        "scan_logs",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("scan_id", sa.String(length=None), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_scan_logs_organization_id")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_scan_logs_scan_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("scan_id", "sequence", name=op.f("pk_scan_logs")),
    )
    op.create_table(
        "engine_outputs",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("engine_run_id", sa.String(length=None), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["engine_run_id"], ["engine_runs.id"], name=op.f("fk_engine_outputs_engine_run_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_engine_outputs_organization_id")
        ),
        sa.PrimaryKeyConstraint("engine_run_id", name=op.f("pk_engine_outputs")),
    )


def downgrade() -> None:
    op.drop_table("engine_outputs")
    op.drop_table("scan_logs")
    with op.batch_alter_table("scan_findings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scan_findings_vulnerability_id_scan_id"))
        batch_op.drop_index(batch_op.f("ix_scan_findings_scan_id_severity_key_id"))

    op.drop_table("scan_findings")
    with op.batch_alter_table("packages", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_packages_scan_id_name_id"))
        batch_op.drop_index(batch_op.f("ix_packages_organization_id_type_name"))

    op.drop_table("packages")
    op.drop_table("layers")
    op.drop_table("engine_runs")
    with op.batch_alter_table("scans", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scans_organization_id_status_ordered_at_id"))
        batch_op.drop_index(batch_op.f("ix_scans_organization_id_risk_key_id"))
        batch_op.drop_index(batch_op.f("ix_scans_organization_id_ordered_at_id"))
        batch_op.drop_index(batch_op.f("ix_scans_organization_id_image_id_ordered_at"))
        batch_op.drop_index(batch_op.f("ix_scans_organization_id_grade_key_id"))

    op.drop_table("scans")
    with op.batch_alter_table("vulnerabilities", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_organization_id_status_id"))
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_organization_id_severity_key_id"))
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_organization_id_detected_at_id"))
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_organization_id_cvss_key_id"))
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_organization_id_cve_id_id"))
        batch_op.drop_index(batch_op.f("ix_vulnerabilities_image_id"))

    op.drop_table("vulnerabilities")
    with op.batch_alter_table("tags", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tags_image_id"))

    op.drop_table("tags")
    with op.batch_alter_table("digests", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_digests_image_id"))

    op.drop_table("digests")
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_images_organization_id_risk_key_id"))
        batch_op.drop_index(batch_op.f("ix_images_organization_id_created_at_id"))

    op.drop_table("images")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_keys_organization_id_created_at_id"))

    op.drop_table("api_keys")
    with op.batch_alter_table("advisory_packages", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_advisory_packages_ecosystem_name"))

    op.drop_table("advisory_packages")
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_uploads_created_at"))

    op.drop_table("uploads")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sessions_user_id"))
        batch_op.drop_index(batch_op.f("ix_sessions_organization_id_user_id_created_at_id"))

    op.drop_table("sessions")
    op.drop_table("registries")
    with op.batch_alter_table("personal_access_tokens", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_personal_access_tokens_user_id"))
        batch_op.drop_index(batch_op.f("ix_personal_access_tokens_organization_id_user_id_created_at_id"))

    op.drop_table("personal_access_tokens")
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_memberships_user_id"))

    op.drop_table("memberships")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_state_priority_created_at_id"))
        batch_op.drop_index(batch_op.f("ix_jobs_state_lease_expires_at"))
        batch_op.drop_index(batch_op.f("ix_jobs_organization_id_state"))

    op.drop_table("jobs")
    with op.batch_alter_table("idempotent_answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotent_answers_created_at"))

    op.drop_table("idempotent_answers")
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_events_organization_id_created_at_id"))

    op.drop_table("audit_events")
    with op.batch_alter_table("advisories", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_advisories_import_id"))

    op.drop_table("advisories")
    op.drop_table("users")
    op.drop_table("setup_tokens")
    op.drop_table("outbox")
    op.drop_table("organizations")
    op.drop_table("advisory_imports")
    op.drop_table("advisory_ecosystems")
