"""Schemathesis over the OpenAPI document: every operation, with data that fits it and data that does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.schemathesis.served import NOBODY, OWNER, VIEWER, Outcome, Served, configuration, explore

# Need what cannot be made up: the token of the first start, a password, a session, an engine that left its output, the key
# of a sensor, the secret of a webhook.
NEVER_SUCCEED = {
    "POST /api/setup",
    "POST /api/auth/login",
    "POST /api/auth/logout",
    "GET /api/scans/{scanId}/engines/{engine}/raw",
    "GET /api/scans/compare",  # takes the ids of two things that are there
    "GET /api/agent/jobs",
    "POST /api/agent/catalog",
    "POST /api/agent/heartbeat",
    "POST /api/agent/jobs/{jobId}/status",
    "POST /api/agent/register",
    "POST /api/exports/upload",
    "POST /api/patches/upload",
    "POST /api/scans/upload",
    "POST /api/webhooks/{provider}",
}
# May, but not in so few cases: they take the id of a scan that has ended, a report of a format that is read, a registry
# that nobody has deleted before, a flaw that was found, a rule that waits, or two ids that belong together.
SELDOM_SUCCEED = {
    "GET /api/cves/{cve}",
    "DELETE /api/registries/{registryId}/webhook",
    "GET /api/images/{imageId}/export",
    "GET /api/images/{imageId}/sarif",
    "GET /api/images/{imageId}/tags/{tagId}/history",
    "GET /api/registries/{registryId}/syncs/{syncId}",
    "GET /api/scans/{scanId}/export",
    "GET /api/scans/{scanId}/sbom",
    "GET /api/scans/{scanId}/sarif",
    "GET /api/scans/{scanId}/statement",
    "POST /api/attestations",
    "POST /api/attestations/{attestationId}/renew",
    "POST /api/attestations/{attestationId}/revoke",
    "POST /api/scans/import",
    "POST /api/triage-rules/{ruleId}/approve",
    "POST /api/triage-rules/{ruleId}/reject",
}


def run(served: Served, caller: str, *, examples: int, **phases: Any) -> tuple[OpenApiSchema, Outcome]:
    config = configuration(served.headers[caller], examples=examples, phases=phases)
    schema = schemathesis.openapi.from_asgi("/openapi.json", served, config=config)
    return schema, explore(schema)


def test_t31_owner_meets_no_error_and_nothing_undocumented(served: Served) -> None:
    schema, outcome = run(served, OWNER, examples=5)

    operations = {result.ok().label for result in schema.get_all_operations() if isinstance(result, Ok)}
    assert outcome.problems == []
    assert operations - outcome.succeeded() - SELDOM_SUCCEED == NEVER_SUCCEED


@pytest.mark.parametrize("caller", [VIEWER, NOBODY])
def test_t31_lesser_callers_meet_no_error_and_nothing_undocumented(served: Served, caller: str) -> None:
    _, outcome = run(served, caller, examples=5, coverage={"enabled": False})

    assert outcome.problems == []
    assert outcome.answers
