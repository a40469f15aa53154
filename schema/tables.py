"""Every table of the product, imported so that the metadata is complete."""

from __future__ import annotations

import schema.advisories.models
import schema.attestations.models
import schema.audit.models
import schema.credentials.models
import schema.cves.models
import schema.dependencies.models
import schema.events.models
import schema.images.models
import schema.jobs.models
import schema.kernel.idempotency
import schema.kernel.outbox
import schema.organizations.models
import schema.posture.models
import schema.registries.models
import schema.scans.models
import schema.sensors.models
import schema.statements.models
import schema.triage.models
import schema.vulnerabilities.models
import schema.watch.models  # noqa: F401
from schema.kernel.columns import metadata

__all__ = ["metadata"]
