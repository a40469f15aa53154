"""How many SQL statements each REST operation executes, for every row of the table: to the statement, so that a new one is
a decision.

The look-up of the credential is not counted (once a second, see `schema.kernel.recent`), nor BEGIN and COMMIT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from bench.findings import furnish as furnish_findings
from compat_rest.routes import ROUTES, Envelope, Route
from schema.kernel.ids import IdPrefix
from tests.app.site import PASSWORD, Site
from tests.factories.statements import new_key, public_pem
from tests.isolation.estate import Estate, query_of
from tests.isolation.furnished import database_url, estates, furnished, furnished_postgresql, furnished_sqlite

__all__ = ["database_url", "estates", "furnished", "furnished_postgresql", "furnished_sqlite"]

# A read: how many statements. Every list is two: how many there are, and the rows of the page.
READS = {
    "listScans": 2,
    "getScan": 2,
    "getScanStatus": 1,
    "listScanFindings": 3,
    "listScanPackages": 3,
    "listScanMisconfigurations": 3,
    "listScanSecrets": 3,
    "listScanChecks": 2,
    "getScanEfficiency": 2,
    "listScanLayers": 2,
    "listScanEngines": 2,
    "downloadEngineOutput": 2,
    # The scan, then what it holds in five: the scan with its image, engines, layers, packages, findings.
    "downloadScanSbom": 9,
    "downloadScanSarif": 9,
    "downloadScanStatement": 9,
    "getSigner": 0,
    "listImageStatements": 2,
    "listTrustedKeys": 1,
    "getTrustedKey": 1,
    "exportScan": 9,
    "compareScans": 19,  # twice those eight, and the tag's latest scan in three
    "listScanLogs": 2,
    "listImages": 2,
    "getImage": 1,
    "listImageTags": 3,
    # The image and its latest scan first.
    "downloadImageSbom": 10,
    "downloadImageSarif": 10,
    "exportImage": 10,
    "listVulnerabilities": 2,
    "getVulnerability": 6,
    "listDistinctValues": 2,
    "groupVulnerabilities": 2,
    "listTriageHistory": 2,
    "listTriageOperations": 2,
    "listTriageRules": 2,
    "getTriageRule": 1,
    "listSavedFilters": 2,
    "getSavedFilter": 2,
    "listAttestations": 2,
    "getAttestation": 1,
    "exportAttestations": 4,
    "getCveWatch": 3,
    "listCveAlerts": 3,
    "getCveAlert": 2,
    "getCve": 3,
    "getCompliancePolicy": 1,
    "getPosture": 6,
    "listDependencies": 5,
    "listDependencyOccurrences": 1,
    "listDependencyLicenses": 2,
    "exportDependencies": 4,
    "getPostureTrend": 2,
    "listEvents": 2,
    "getAdvisoryStatus": 2,
    "listScanBatches": 2,
    "getScanBatch": 1,
    "listRegistries": 2,
    "getRegistry": 1,
    "getRegistrySensorStatus": 2,
    "listRegistryEvents": 3,
    "listRegistrySyncs": 3,
    "listTagHistory": 4,
    "getRegistrySync": 1,
    "listApiKeys": 2,
    "getApiKey": 1,
    "listPersonalAccessTokens": 2,
    "getPersonalAccessToken": 1,
    "getMe": 2,
    "listSensors": 2,
    "getSensor": 1,
}
# The one flaw of the estate, in the one package.
ATTESTATION = {
    "cveId": "CVE-canary-alpha",
    "package": "canary-alpha-package",
    "category": "risk_accepted",
    "reason": "budget",
    "scope": {"type": "blanket"},
}
VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "statements": [
        {
            "vulnerability": {"name": "CVE-canary-alpha"},
            "products": [{"@id": "pkg:pypi/canary-alpha-package"}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
        }
    ],
}
# A write, with its body: the change, its audit row, and one that looks whether the outbox holds anything to deliver. The scan
# of the estate has ended, so cancelling it is one statement and a refusal.
WRITES: dict[str, tuple[int, Any]] = {
    "triggerScan": (16, {"image": "alpha.example/app:2", "scanners": ["trivy", "syft"]}),
    "cancelScan": (1, None),
    "deleteScan": (23, None),
    "startScanBatch": (8, {"images": "alpha.example/*"}),
    "cancelScanBatch": (10, None),
    "scheduleScans": (12, {}),
    "createRegistry": (14, {"name": "budget", "url": "https://registry.alpha.example"}),
    "updateRegistry": (7, {"tagInclude": "v*"}),
    "deleteRegistry": (9, None),
    "syncRegistry": (10, None),
    "testRegistryConnection": (2, {"url": "http://nobody.localhost:1025", "insecure": True}),
    "createRegistryWebhook": (5, None),
    "deleteRegistryWebhook": (4, None),
    "triageVulnerability": (27, {"status": "IN_PROGRESS"}),
    "postVulnerabilityTriage": (27, {"status": "IN_PROGRESS"}),
    "triageVulnerabilities": (26, {"filter": {"severity": ["HIGH"]}, "status": "IN_PROGRESS"}),
    "undoTriage": (29, None),
    "createTriageRule": (8, {"cveId": "CVE-2026-0001", "status": "WONT_FIX", "reason": "budget"}),
    "approveTriageRule": (1, None),
    "rejectTriageRule": (1, None),
    "revokeTriageRule": (6, None),
    "createSavedFilter": (4, {"name": "budget", "query": "kev=true"}),
    "updateSavedFilter": (5, {"name": "budget", "query": "kev=true"}),
    "deleteSavedFilter": (3, None),
    "createAttestation": (18, ATTESTATION),
    "importAttestations": (20, VEX),
    "renewAttestation": (19, {"expiresAt": None}),
    "revokeAttestation": (46, {"reason": "budget"}),
    "deleteAttestation": (46, None),
    "updateCveWatch": (8, {"enabled": False}),
    "triggerCveWatch": (8, None),
    "suppressCveAlert": (8, {"suppressed": True}),
    "updateCompliancePolicy": (7, {"freshnessThresholdDays": 20}),
    "createApiKey": (4, {"name": "budget"}),
    "deleteApiKey": (3, None),
    "createPersonalAccessToken": (4, {"name": "budget"}),
    "deletePersonalAccessToken": (3, None),
    "deleteSensor": (4, None),
    "addTrustedKey": (6, {"name": "budget", "pem": public_pem(new_key())}),
    "removeTrustedKey": (4, None),
    "login": (9, {"email": "ada@alpha.example", "password": PASSWORD}),
    "logout": (3, None),
}
# Not a matter of statements: streams, a body of gigabytes, and what happens once in the life of a server.
ELSEWHERE = {"receiveRegistryPush", "followScan", "uploadImage", "importReport", "completeSetup"}
# Nobody who signs in may call these; what sensors do every few seconds has its budget in test_sensor_protocol.py.
SENSORS = {route.operation for route in ROUTES if route.tag == "sensor-protocol"}
PATH_IDS = {
    "scanId": IdPrefix.SCAN,
    "tagId": IdPrefix.TAG,
    "syncId": IdPrefix.SYNC,
    "imageId": IdPrefix.IMAGE,
    "vulnId": IdPrefix.VULNERABILITY,
    "registryId": IdPrefix.REGISTRY,
    "batchId": IdPrefix.SCAN_BATCH,
    "keyId": IdPrefix.API_KEY,
    "tokenId": IdPrefix.PERSONAL_ACCESS_TOKEN,
    "sensorId": IdPrefix.SENSOR,
    "operationId": IdPrefix.TRIAGE_OPERATION,
    "ruleId": IdPrefix.TRIAGE_RULE,
    "filterId": IdPrefix.SAVED_FILTER,
    "attestationId": IdPrefix.ATTESTATION,
    "alertId": IdPrefix.ALERT,
    "trustedKeyId": IdPrefix.TRUSTED_KEY,
}
PATH_VALUES = {"engine": "syft", "cve": "CVE-canary-alpha"}
PLENTY = 120


@contextmanager
def counted(site: Site) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not re.match(r"BEGIN|COMMIT|ROLLBACK", statement):
            statements.append(statement)

    for engine in site.database.engines:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in site.database.engines:
            event.remove(engine.sync_engine, "before_cursor_execute", note)


def _path_value(estate: Estate, segment: re.Match[str]) -> str:
    return PATH_VALUES.get(segment[1]) or estate.ids[PATH_IDS[segment[1]]]


async def statements_of(site: Site, estate: Estate, route: Route, body: Any = None) -> list[str]:
    path = re.sub(r"\{(\w+)\}", partial(_path_value, estate), route.path)
    async with site.client(headers={"X-HarborGuard-Client": "test"}) as client:
        await site.sign_in(client, estate.tenant)
        await client.get("/api/health")  # so that the session has been looked up
        await site.services.background.settle()
        with counted(site) as statements:
            response = await client.request(route.method, path, params=query_of(route, estate.ids), json=body)
            await site.services.background.settle()  # what is delivered after the answer counts as well
        assert response.status_code in {200, 201, 202, 204, 409}, response.text
    return statements


@pytest.fixture
def estate(site: Site, estates: tuple[Estate, Estate]) -> Estate:
    now = site.services.clock()
    object.__setattr__(site.services, "clock", lambda: now)  # so that no second passes, however slow the machine is
    return estates[0]


def test_every_operation_has_a_budget() -> None:
    assert {*READS, *WRITES} | ELSEWHERE | SENSORS == {route.operation for route in ROUTES}


async def _reads(site: Site, estate: Estate, *envelopes: Envelope) -> dict[str, int]:
    """How many statements the reads execute, those of the envelopes. They change nothing, so they share the estate."""
    return {
        route.operation: len(await statements_of(site, estate, route))
        for route in ROUTES
        if route.operation in READS and (not envelopes or route.envelope in envelopes)
    }


async def test_every_read_stays_within_its_budget(site: Site, estate: Estate) -> None:
    assert await _reads(site, estate) == READS


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.operation in WRITES], ids=lambda each: each.operation
)
async def test_a_write_stays_within_its_budget(site: Site, estate: Estate, route: Route) -> None:
    budget, body = WRITES[route.operation]
    statements = await statements_of(site, estate, route, body)
    assert len(statements) == budget, "\n\n".join(statements)


async def test_a_list_of_many_takes_as_many_statements_as_a_list_of_one(site: Site, estate: Estate) -> None:
    before = await _reads(site, estate, Envelope.PAGE)
    await furnish_findings(site.database, estate.tenant.organization_id, PLENTY)
    assert await _reads(site, estate, Envelope.PAGE) == before
