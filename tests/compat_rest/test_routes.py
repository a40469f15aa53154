"""The table against the real schema."""

from __future__ import annotations

import pytest
from graphql import GraphQLSchema
from starlette.routing import Match, compile_path

from compat_rest.adapter import Directory, Resource
from compat_rest.endpoints import Endpoint, read_documents
from compat_rest.routes import ROUTES, Route
from schema.build import build_schema

# Method and path, then who may call it: the documented contract in one glance.
CONTRACT = """
GET    /api/scans                                    scans:view
POST   /api/scans                                    scans:create            10/60s
GET    /api/scans/compare                            scans:view
POST   /api/scans/import                             scans:create            10/60s
POST   /api/scans/upload                             sensors:connect
POST   /api/scans/bulk                               scans:create            10/60s
GET    /api/scans/bulk                               scans:view
GET    /api/scans/bulk/{batchId}                     scans:view
POST   /api/scans/bulk/{batchId}/cancel              scans:edit
GET    /api/scans/{scanId}                           scans:view
DELETE /api/scans/{scanId}                           scans:delete
GET    /api/scans/{scanId}/status                    scans:view
POST   /api/scans/{scanId}/cancel                    scans:edit
GET    /api/scans/{scanId}/findings                  scans:view
GET    /api/scans/{scanId}/packages                  scans:view
GET    /api/scans/{scanId}/misconfigurations         scans:view
GET    /api/scans/{scanId}/secrets                   scans:view
GET    /api/scans/{scanId}/checks                    scans:view
GET    /api/scans/{scanId}/efficiency                scans:view
GET    /api/scans/{scanId}/layers                    scans:view
GET    /api/scans/{scanId}/engines                   scans:view
GET    /api/scans/{scanId}/engines/{engine}/raw      scans:view
GET    /api/scans/{scanId}/logs                      scans:view
GET    /api/scans/{scanId}/events                    scans:view
GET    /api/scans/{scanId}/sbom                      scans:view
GET    /api/scans/{scanId}/statement                 scans:view
GET    /api/scans/{scanId}/sarif                     scans:view
GET    /api/scans/{scanId}/export                    scans:view
GET    /api/images                                   images:view
POST   /api/images/upload                            scans:create
GET    /api/images/{imageId}                         images:view
GET    /api/images/{imageId}/tags                    images:view
GET    /api/images/{imageId}/tags/{tagId}/history    images:view
GET    /api/images/{imageId}/sbom                    images:view
GET    /api/images/{imageId}/sarif                   images:view
GET    /api/images/{imageId}/export                  images:view
GET    /api/dependencies                             images:view
GET    /api/dependencies/occurrences                 images:view
GET    /api/dependencies/licenses                    images:view
GET    /api/dependencies/export                      images:view
GET    /api/registries                               registries:view
POST   /api/registries                               registries:create
POST   /api/registries/test-connection               registries:test         20/60s
POST   /api/registries/schedule-scans                registries:admin
GET    /api/registries/{registryId}                  registries:view
PUT    /api/registries/{registryId}                  registries:edit
DELETE /api/registries/{registryId}                  registries:delete
POST   /api/registries/{registryId}/sync             registries:admin
GET    /api/registries/{registryId}/sensor-status    registries:view
POST   /api/webhooks/{provider}                      public
GET    /api/registries/{registryId}/syncs            registries:view
GET    /api/registries/{registryId}/syncs/{syncId}   registries:view
POST   /api/registries/{registryId}/webhook          registries:admin
DELETE /api/registries/{registryId}/webhook          registries:admin
GET    /api/registries/{registryId}/events           registries:view
GET    /api/vulnerabilities                          vulnerabilities:view
POST   /api/vulnerabilities/triage                   vulnerabilities:triage
GET    /api/vulnerabilities/triage/operations        vulnerabilities:view
POST   /api/vulnerabilities/triage/operations/{operationId}/undo vulnerabilities:triage
GET    /api/vulnerabilities/distinct                 vulnerabilities:view
GET    /api/vulnerabilities/groups                   vulnerabilities:view
GET    /api/vulnerabilities/{vulnId}                 vulnerabilities:view
PUT    /api/vulnerabilities/{vulnId}/triage          vulnerabilities:triage
POST   /api/vulnerabilities/{vulnId}/triage          vulnerabilities:triage
GET    /api/vulnerabilities/{vulnId}/history         vulnerabilities:view
GET    /api/triage-rules                             vulnerabilities:view
POST   /api/triage-rules                             vulnerabilities:triage
GET    /api/triage-rules/{ruleId}                    vulnerabilities:view
DELETE /api/triage-rules/{ruleId}                    vulnerabilities:triage
POST   /api/triage-rules/{ruleId}/approve            vulnerabilities:triage
POST   /api/triage-rules/{ruleId}/reject             vulnerabilities:triage
GET    /api/saved-filters                            vulnerabilities:view
POST   /api/saved-filters                            vulnerabilities:view
GET    /api/saved-filters/{filterId}                 vulnerabilities:view
PUT    /api/saved-filters/{filterId}                 vulnerabilities:view
DELETE /api/saved-filters/{filterId}                 vulnerabilities:view
GET    /api/attestations                             exceptions:view
POST   /api/attestations                             exceptions:create       20/60s
GET    /api/attestations/export                      exceptions:view
POST   /api/attestations/import                      exceptions:create       10/60s
GET    /api/attestations/{attestationId}             exceptions:view
DELETE /api/attestations/{attestationId}             exceptions:delete
POST   /api/attestations/{attestationId}/renew       exceptions:edit
POST   /api/attestations/{attestationId}/revoke      exceptions:revoke
GET    /api/cve-watch                                vulnerabilities:view
PUT    /api/cve-watch/settings                       vulnerabilities:admin
POST   /api/cve-watch/trigger                        vulnerabilities:admin   1/300s
GET    /api/cve-watch/alerts                         vulnerabilities:view
GET    /api/cve-watch/alerts/{alertId}               vulnerabilities:view
POST   /api/cve-watch/alerts/{alertId}/suppress      vulnerabilities:triage
GET    /api/cves/{cve}                               vulnerabilities:view
GET    /api/scans/{scanId}/image-statements          scans:view
GET    /api/trusted-keys                             images:view
POST   /api/trusted-keys                             images:admin
GET    /api/trusted-keys/{trustedKeyId}              images:view
DELETE /api/trusted-keys/{trustedKeyId}              images:admin
GET    /api/signer                                   scans:view
GET    /api/organization/compliance-policy           vulnerabilities:view
PUT    /api/organization/compliance-policy           vulnerabilities:admin
GET    /api/reports/posture                          reports:view
GET    /api/reports/posture/trend                    reports:view
GET    /api/events                                   vulnerabilities:view
GET    /api/advisories                               vulnerabilities:view
GET    /api/api-keys                                 api-keys:view
POST   /api/api-keys                                 api-keys:create         10/60s
GET    /api/api-keys/{keyId}                         api-keys:view
DELETE /api/api-keys/{keyId}                         api-keys:delete
GET    /api/personal-access-tokens                   tokens:self
POST   /api/personal-access-tokens                   tokens:self             10/60s
GET    /api/personal-access-tokens/{tokenId}         tokens:self
DELETE /api/personal-access-tokens/{tokenId}         tokens:self
GET    /api/sensors                                  registries:view
GET    /api/sensors/{sensorId}                       registries:view
DELETE /api/sensors/{sensorId}                       registries:delete
POST   /api/agent/register                           sensors:connect
POST   /api/agent/heartbeat                          sensors:connect
GET    /api/agent/jobs                               sensors:connect
POST   /api/agent/jobs/{jobId}/status                sensors:connect
POST   /api/agent/catalog                            sensors:connect
POST   /api/patches/upload                           sensors:connect
POST   /api/exports/upload                           sensors:connect
GET    /api/me                                       authenticated
POST   /api/setup                                    public                  10/60s
POST   /api/auth/login                               public                  10/60s
POST   /api/auth/logout                              authenticated
"""


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema().graphql


@pytest.fixture(scope="module")
def endpoints(schema: GraphQLSchema) -> list[Endpoint]:
    documents = read_documents()
    return [Endpoint.bind(route, schema, documents) for route in ROUTES]


def test_t03_table_is_the_contract(endpoints: list[Endpoint]) -> None:
    rows = []
    for endpoint in endpoints:
        policy = endpoint.operation.policy
        who = "public" if policy.public else policy.permission or "authenticated"
        budget = f"{policy.budget.requests}/{policy.budget.seconds}s" if policy.budget else ""
        rows.append(f"{endpoint.route.method} {endpoint.route.path} {who} {budget}".strip())

    assert rows == [" ".join(line.split()) for line in CONTRACT.strip().splitlines()]


def test_every_document_belongs_to_one_row() -> None:
    assert sorted(route.operation for route in ROUTES) == sorted(read_documents())


def test_more_specific_paths_come_first() -> None:
    """Starlette takes the first path that matches, so a fixed segment has to stand before a variable one."""
    paths = list(dict.fromkeys(route.path for route in ROUTES))
    for position, path in enumerate(paths):
        shadowed = [later for later in paths[position + 1 :] if compile_path(path)[0].match(later)]
        assert shadowed == []


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "POST" and route.status == 201])
def test_what_creates_honours_an_idempotency_key(route: Route) -> None:
    assert route.creates or route.operation == "completeSetup"  # nobody is signed in yet whose key it could be


def _directory(*paths: str) -> Directory:
    return Directory(Resource(path, {}) for path in paths)


@pytest.mark.parametrize(
    ("path", "found", "parameters"),
    [
        ("/api/images", "/api/images", {}),
        ("/api/images/upload", "/api/images/upload", {}),
        ("/api/images/img-1", "/api/images/{imageId}", {"imageId": "img-1"}),
        ("/api/images/upload/tags", "/api/images/{imageId}/tags", {"imageId": "upload"}),
        (
            "/api/scans/scn-1/engines/syft/raw",
            "/api/scans/{scanId}/engines/{engine}/raw",
            {"scanId": "scn-1", "engine": "syft"},
        ),
        ("/api/images/", None, {}),
        ("/api/images//tags", None, {}),
        ("/api", None, {}),
        ("api/images", None, {}),
        ("", None, {}),
        ("/api/scans/scn-1/engines/syft", None, {}),
        ("/api/images/{imageId}", "/api/images/{imageId}", {"imageId": "{imageId}"}),
    ],
)
def test_a_path_is_found_by_its_segments(path: str, found: str | None, parameters: dict[str, str]) -> None:
    directory = _directory(
        "/api/images",
        "/api/images/upload",
        "/api/images/{imageId}",
        "/api/images/{imageId}/tags",
        "/api/scans/{scanId}/engines/{engine}/raw",
    )
    match, scope = directory.matches({"type": "http", "path": path})
    assert (match is Match.FULL) == (found is not None)
    if found is not None:
        assert (scope["endpoint"].path, scope["path_params"]) == (found, parameters)


def test_the_directory_is_for_http_only() -> None:
    assert _directory("/graphql").matches({"type": "websocket", "path": "/graphql"})[0] is Match.NONE
