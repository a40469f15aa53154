"""The REST API as one table: each row is a route and the GraphQL operation that answers it.

The document of a row (`operations/<operation>.graphql`) says everything else: its variables are the path segments, the
query parameters and the body, its selection set is the answer. A variable that a `{segment}` of the path names is
filled from there, one of an input type, SensorMessage or VexDocument is the JSON body, one of type Archive, Report or Delivery
is the body as it comes, any other is a query parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Envelope(StrEnum):
    """How the operation's data becomes an answer."""

    SINGLE = "SINGLE"  # {"data": {…}}
    PAGE = "PAGE"  # {"data": […], "meta", "links"}, from a page with `items` and `meta`
    LIST = "LIST"  # the same, from a list that is never paged
    EMPTY = "EMPTY"  # 204
    FILE = "FILE"  # a download, from an object with `mediaType`, `content` and, unless the row has one, `filename`
    BARE = "BARE"  # {…}, for a protocol that is not ours
    LINES = "LINES"  # a download written as it is read, from a subscription to `lines`; the row has its `filename`
    EVENTS = "EVENTS"  # text/event-stream, from a subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row. Templates (`location`, `additions`, `filename`) are filled from the answer's data or the path."""

    method: str
    path: str
    operation: str
    tag: str
    envelope: Envelope = Envelope.SINGLE
    status: int = 200
    data: tuple[str, ...] = ()  # where the answer lies below the operation's root field
    location: str | None = None
    additions: tuple[tuple[str, str], ...] = ()  # fields that only REST has
    filename: str | None = None
    creates: bool = False  # honours Idempotency-Key
    takes: bool = False  # a GET that changes something, because a protocol that is not ours has it so


ROUTES: tuple[Route, ...] = (
    # Scans
    Route(method="GET", path="/api/scans", operation="listScans", tag="scans", envelope=Envelope.PAGE),
    Route(
        method="POST",
        path="/api/scans",
        operation="triggerScan",
        tag="scans",
        status=202,
        location="/api/scans/{id}/status",
        additions=(
            ("message", "Scan queued for execution"),
            ("statusUrl", "/api/scans/{id}/status"),
            ("url", "/dashboard/scans/{id}"),
        ),
        creates=True,
    ),
    Route(method="GET", path="/api/scans/compare", operation="compareScans", tag="scans"),
    Route(
        method="POST",
        path="/api/scans/import",
        operation="importReport",
        tag="scans",
        status=202,
        location="/api/scans/{id}/status",
        additions=(
            ("message", "Report queued for import"),
            ("statusUrl", "/api/scans/{id}/status"),
            ("url", "/dashboard/scans/{id}"),
        ),
        creates=True,
    ),
    Route(
        method="POST",
        path="/api/scans/upload",
        operation="uploadScan",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="POST",
        path="/api/scans/bulk",
        operation="startScanBatch",
        tag="scans",
        status=202,
        location="/api/scans/bulk/{id}",
        creates=True,
    ),
    Route(method="GET", path="/api/scans/bulk", operation="listScanBatches", tag="scans", envelope=Envelope.PAGE),
    Route(method="GET", path="/api/scans/bulk/{batchId}", operation="getScanBatch", tag="scans"),
    Route(method="POST", path="/api/scans/bulk/{batchId}/cancel", operation="cancelScanBatch", tag="scans"),
    Route(method="GET", path="/api/scans/{scanId}", operation="getScan", tag="scans"),
    Route(method="DELETE", path="/api/scans/{scanId}", operation="deleteScan", tag="scans", envelope=Envelope.EMPTY),
    Route(method="GET", path="/api/scans/{scanId}/status", operation="getScanStatus", tag="scans"),
    Route(method="POST", path="/api/scans/{scanId}/cancel", operation="cancelScan", tag="scans"),
    Route(
        method="GET",
        path="/api/scans/{scanId}/findings",
        operation="listScanFindings",
        tag="scans",
        envelope=Envelope.PAGE,
        data=("findings",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/packages",
        operation="listScanPackages",
        tag="scans",
        envelope=Envelope.PAGE,
        data=("packages",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/misconfigurations",
        operation="listScanMisconfigurations",
        tag="scans",
        envelope=Envelope.PAGE,
        data=("misconfigurations",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/secrets",
        operation="listScanSecrets",
        tag="scans",
        envelope=Envelope.PAGE,
        data=("secrets",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/checks",
        operation="listScanChecks",
        tag="scans",
        envelope=Envelope.LIST,
        data=("checks",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/efficiency",
        operation="getScanEfficiency",
        tag="scans",
        data=("efficiency",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/layers",
        operation="listScanLayers",
        tag="scans",
        envelope=Envelope.LIST,
        data=("layers",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/engines",
        operation="listScanEngines",
        tag="scans",
        envelope=Envelope.LIST,
        data=("engines",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/engines/{engine}/raw",
        operation="downloadEngineOutput",
        tag="scans",
        envelope=Envelope.FILE,
        data=("engineOutput",),
        filename="{scanId}-{engine}",
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/logs",
        operation="listScanLogs",
        tag="scans",
        envelope=Envelope.LIST,
        data=("logs",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/events",
        operation="followScan",
        tag="scans",
        envelope=Envelope.EVENTS,
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/sbom",
        operation="downloadScanSbom",
        tag="scans",
        envelope=Envelope.FILE,
        data=("sbom",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/statement",
        operation="downloadScanStatement",
        tag="scans",
        envelope=Envelope.FILE,
        data=("statement",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/sarif",
        operation="downloadScanSarif",
        tag="scans",
        envelope=Envelope.FILE,
        data=("document",),
    ),
    Route(
        method="GET",
        path="/api/scans/{scanId}/export",
        operation="exportScan",
        tag="scans",
        envelope=Envelope.FILE,
        data=("document",),
    ),
    # Images
    Route(method="GET", path="/api/images", operation="listImages", tag="images", envelope=Envelope.PAGE),
    Route(method="POST", path="/api/images/upload", operation="uploadImage", tag="images", status=201, creates=True),
    Route(method="GET", path="/api/images/{imageId}", operation="getImage", tag="images"),
    Route(
        method="GET",
        path="/api/images/{imageId}/tags",
        operation="listImageTags",
        tag="images",
        envelope=Envelope.PAGE,
        data=("tags",),
    ),
    Route(
        method="GET",
        path="/api/images/{imageId}/tags/{tagId}/history",
        operation="listTagHistory",
        tag="images",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="GET",
        path="/api/images/{imageId}/sbom",
        operation="downloadImageSbom",
        tag="images",
        envelope=Envelope.FILE,
        data=("sbom",),
    ),
    Route(
        method="GET",
        path="/api/images/{imageId}/sarif",
        operation="downloadImageSarif",
        tag="images",
        envelope=Envelope.FILE,
        data=("document",),
    ),
    Route(
        method="GET",
        path="/api/images/{imageId}/export",
        operation="exportImage",
        tag="images",
        envelope=Envelope.FILE,
        data=("document",),
    ),
    # Dependencies
    Route(
        method="GET",
        path="/api/dependencies",
        operation="listDependencies",
        tag="dependencies",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="GET",
        path="/api/dependencies/occurrences",
        operation="listDependencyOccurrences",
        tag="dependencies",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="GET",
        path="/api/dependencies/licenses",
        operation="listDependencyLicenses",
        tag="dependencies",
        envelope=Envelope.LIST,
    ),
    Route(
        method="GET",
        path="/api/dependencies/export",
        operation="exportDependencies",
        tag="dependencies",
        envelope=Envelope.LINES,
        filename="dependencies.csv",
    ),
    # Registries
    Route(method="GET", path="/api/registries", operation="listRegistries", tag="registries", envelope=Envelope.PAGE),
    Route(
        method="POST",
        path="/api/registries",
        operation="createRegistry",
        tag="registries",
        status=201,
        location="/api/registries/{id}",
        creates=True,
    ),
    Route(method="POST", path="/api/registries/test-connection", operation="testRegistryConnection", tag="registries"),
    Route(
        method="POST",
        path="/api/registries/schedule-scans",
        operation="scheduleScans",
        tag="registries",
        status=202,
        envelope=Envelope.LIST,
    ),
    Route(method="GET", path="/api/registries/{registryId}", operation="getRegistry", tag="registries"),
    Route(method="PUT", path="/api/registries/{registryId}", operation="updateRegistry", tag="registries"),
    Route(
        method="DELETE",
        path="/api/registries/{registryId}",
        operation="deleteRegistry",
        tag="registries",
        envelope=Envelope.EMPTY,
    ),
    Route(
        method="POST", path="/api/registries/{registryId}/sync", operation="syncRegistry", tag="registries", status=202
    ),
    Route(
        method="GET",
        path="/api/registries/{registryId}/sensor-status",
        operation="getRegistrySensorStatus",
        tag="registries",
        data=("sensorStatus",),
    ),
    # What registries tell us
    Route(
        method="POST",
        path="/api/webhooks/{provider}",
        operation="receiveRegistryPush",
        tag="registries",
        status=202,
    ),
    Route(
        method="GET",
        path="/api/registries/{registryId}/syncs",
        operation="listRegistrySyncs",
        tag="registries",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="GET", path="/api/registries/{registryId}/syncs/{syncId}", operation="getRegistrySync", tag="registries"
    ),
    Route(
        method="POST",
        path="/api/registries/{registryId}/webhook",
        operation="createRegistryWebhook",
        tag="registries",
        status=201,
        creates=True,
    ),
    Route(
        method="DELETE",
        path="/api/registries/{registryId}/webhook",
        operation="deleteRegistryWebhook",
        tag="registries",
        envelope=Envelope.EMPTY,
    ),
    Route(
        method="GET",
        path="/api/registries/{registryId}/events",
        operation="listRegistryEvents",
        tag="registries",
        envelope=Envelope.PAGE,
    ),
    # Vulnerabilities
    Route(
        method="GET",
        path="/api/vulnerabilities",
        operation="listVulnerabilities",
        tag="vulnerabilities",
        envelope=Envelope.PAGE,
    ),
    Route(method="POST", path="/api/vulnerabilities/triage", operation="triageVulnerabilities", tag="vulnerabilities"),
    Route(
        method="GET",
        path="/api/vulnerabilities/triage/operations",
        operation="listTriageOperations",
        tag="vulnerabilities",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="POST",
        path="/api/vulnerabilities/triage/operations/{operationId}/undo",
        operation="undoTriage",
        tag="vulnerabilities",
    ),
    Route(
        method="GET",
        path="/api/vulnerabilities/distinct",
        operation="listDistinctValues",
        tag="vulnerabilities",
        envelope=Envelope.LIST,
    ),
    Route(
        method="GET",
        path="/api/vulnerabilities/groups",
        operation="groupVulnerabilities",
        tag="vulnerabilities",
        envelope=Envelope.PAGE,
    ),
    Route(method="GET", path="/api/vulnerabilities/{vulnId}", operation="getVulnerability", tag="vulnerabilities"),
    Route(
        method="PUT",
        path="/api/vulnerabilities/{vulnId}/triage",
        operation="triageVulnerability",
        tag="vulnerabilities",
    ),
    Route(
        method="POST",
        path="/api/vulnerabilities/{vulnId}/triage",
        operation="postVulnerabilityTriage",
        tag="vulnerabilities",
    ),
    Route(
        method="GET",
        path="/api/vulnerabilities/{vulnId}/history",
        operation="listTriageHistory",
        tag="vulnerabilities",
        envelope=Envelope.LIST,
    ),
    Route(
        method="GET",
        path="/api/triage-rules",
        operation="listTriageRules",
        tag="vulnerabilities",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="POST",
        path="/api/triage-rules",
        operation="createTriageRule",
        tag="vulnerabilities",
        status=201,
        location="/api/triage-rules/{id}",
        creates=True,
    ),
    Route(method="GET", path="/api/triage-rules/{ruleId}", operation="getTriageRule", tag="vulnerabilities"),
    Route(
        method="DELETE",
        path="/api/triage-rules/{ruleId}",
        operation="revokeTriageRule",
        tag="vulnerabilities",
        envelope=Envelope.EMPTY,
    ),
    Route(
        method="POST", path="/api/triage-rules/{ruleId}/approve", operation="approveTriageRule", tag="vulnerabilities"
    ),
    Route(method="POST", path="/api/triage-rules/{ruleId}/reject", operation="rejectTriageRule", tag="vulnerabilities"),
    Route(
        method="GET",
        path="/api/saved-filters",
        operation="listSavedFilters",
        tag="vulnerabilities",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="POST",
        path="/api/saved-filters",
        operation="createSavedFilter",
        tag="vulnerabilities",
        status=201,
        location="/api/saved-filters/{id}",
        creates=True,
    ),
    Route(method="GET", path="/api/saved-filters/{filterId}", operation="getSavedFilter", tag="vulnerabilities"),
    Route(method="PUT", path="/api/saved-filters/{filterId}", operation="updateSavedFilter", tag="vulnerabilities"),
    Route(
        method="DELETE",
        path="/api/saved-filters/{filterId}",
        operation="deleteSavedFilter",
        tag="vulnerabilities",
        envelope=Envelope.EMPTY,
    ),
    # Attestations
    Route(
        method="GET", path="/api/attestations", operation="listAttestations", tag="attestations", envelope=Envelope.PAGE
    ),
    Route(
        method="POST",
        path="/api/attestations",
        operation="createAttestation",
        tag="attestations",
        status=201,
        location="/api/attestations/{id}",
        creates=True,
    ),
    Route(
        method="GET",
        path="/api/attestations/export",
        operation="exportAttestations",
        tag="attestations",
        envelope=Envelope.FILE,
    ),
    Route(method="POST", path="/api/attestations/import", operation="importAttestations", tag="attestations"),
    Route(method="GET", path="/api/attestations/{attestationId}", operation="getAttestation", tag="attestations"),
    Route(
        method="DELETE",
        path="/api/attestations/{attestationId}",
        operation="deleteAttestation",
        tag="attestations",
        envelope=Envelope.EMPTY,
    ),
    Route(
        method="POST", path="/api/attestations/{attestationId}/renew", operation="renewAttestation", tag="attestations"
    ),
    Route(
        method="POST",
        path="/api/attestations/{attestationId}/revoke",
        operation="revokeAttestation",
        tag="attestations",
    ),
    # CVE watch
    Route(method="GET", path="/api/cve-watch", operation="getCveWatch", tag="cve-watch"),
    Route(method="PUT", path="/api/cve-watch/settings", operation="updateCveWatch", tag="cve-watch"),
    Route(method="POST", path="/api/cve-watch/trigger", operation="triggerCveWatch", tag="cve-watch", status=202),
    Route(
        method="GET", path="/api/cve-watch/alerts", operation="listCveAlerts", tag="cve-watch", envelope=Envelope.PAGE
    ),
    Route(method="GET", path="/api/cve-watch/alerts/{alertId}", operation="getCveAlert", tag="cve-watch"),
    Route(
        method="POST", path="/api/cve-watch/alerts/{alertId}/suppress", operation="suppressCveAlert", tag="cve-watch"
    ),
    Route(method="GET", path="/api/cves/{cve}", operation="getCve", tag="cve-watch"),
    Route(
        method="GET",
        path="/api/scans/{scanId}/image-statements",
        operation="listImageStatements",
        tag="scans",
        envelope=Envelope.LIST,
        data=("imageStatements",),
    ),
    Route(method="GET", path="/api/trusted-keys", operation="listTrustedKeys", tag="images", envelope=Envelope.LIST),
    Route(
        method="POST",
        path="/api/trusted-keys",
        operation="addTrustedKey",
        tag="images",
        status=201,
        location="/api/trusted-keys/{id}",
        creates=True,
    ),
    Route(method="GET", path="/api/trusted-keys/{trustedKeyId}", operation="getTrustedKey", tag="images"),
    Route(
        method="DELETE",
        path="/api/trusted-keys/{trustedKeyId}",
        operation="removeTrustedKey",
        tag="images",
        envelope=Envelope.EMPTY,
    ),
    Route(method="GET", path="/api/signer", operation="getSigner", tag="scans"),
    # What is demanded, and how it is met
    Route(
        method="GET", path="/api/organization/compliance-policy", operation="getCompliancePolicy", tag="organization"
    ),
    Route(
        method="PUT", path="/api/organization/compliance-policy", operation="updateCompliancePolicy", tag="organization"
    ),
    Route(method="GET", path="/api/reports/posture", operation="getPosture", tag="reports"),
    Route(
        method="GET",
        path="/api/reports/posture/trend",
        operation="getPostureTrend",
        tag="reports",
        envelope=Envelope.LIST,
    ),
    Route(method="GET", path="/api/events", operation="listEvents", tag="events", envelope=Envelope.PAGE),
    Route(method="GET", path="/api/advisories", operation="getAdvisoryStatus", tag="advisories"),
    # Credentials
    Route(method="GET", path="/api/api-keys", operation="listApiKeys", tag="api-keys", envelope=Envelope.PAGE),
    Route(
        method="POST",
        path="/api/api-keys",
        operation="createApiKey",
        tag="api-keys",
        status=201,
        location="/api/api-keys/{id}",
        creates=True,
    ),
    Route(method="GET", path="/api/api-keys/{keyId}", operation="getApiKey", tag="api-keys"),
    Route(
        method="DELETE", path="/api/api-keys/{keyId}", operation="deleteApiKey", tag="api-keys", envelope=Envelope.EMPTY
    ),
    Route(
        method="GET",
        path="/api/personal-access-tokens",
        operation="listPersonalAccessTokens",
        tag="personal-access-tokens",
        envelope=Envelope.PAGE,
    ),
    Route(
        method="POST",
        path="/api/personal-access-tokens",
        operation="createPersonalAccessToken",
        tag="personal-access-tokens",
        status=201,
        location="/api/personal-access-tokens/{id}",
        creates=True,
    ),
    Route(
        method="GET",
        path="/api/personal-access-tokens/{tokenId}",
        operation="getPersonalAccessToken",
        tag="personal-access-tokens",
    ),
    Route(
        method="DELETE",
        path="/api/personal-access-tokens/{tokenId}",
        operation="deletePersonalAccessToken",
        tag="personal-access-tokens",
        envelope=Envelope.EMPTY,
    ),
    # Sensors
    Route(method="GET", path="/api/sensors", operation="listSensors", tag="sensors", envelope=Envelope.PAGE),
    Route(method="GET", path="/api/sensors/{sensorId}", operation="getSensor", tag="sensors"),
    Route(
        method="DELETE",
        path="/api/sensors/{sensorId}",
        operation="deleteSensor",
        tag="sensors",
        envelope=Envelope.EMPTY,
    ),
    # The sensor protocol
    Route(
        method="POST",
        path="/api/agent/register",
        operation="registerSensor",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="POST",
        path="/api/agent/heartbeat",
        operation="sendSensorHeartbeat",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="GET",
        path="/api/agent/jobs",
        operation="claimSensorJobs",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
        takes=True,
    ),
    Route(
        method="POST",
        path="/api/agent/jobs/{jobId}/status",
        operation="reportSensorJob",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="POST",
        path="/api/agent/catalog",
        operation="reportCatalog",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="POST",
        path="/api/patches/upload",
        operation="uploadPatch",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    Route(
        method="POST",
        path="/api/exports/upload",
        operation="uploadExport",
        tag="sensor-protocol",
        envelope=Envelope.BARE,
    ),
    # People
    Route(method="GET", path="/api/me", operation="getMe", tag="account"),
    Route(method="POST", path="/api/setup", operation="completeSetup", tag="account", status=201),
    Route(method="POST", path="/api/auth/login", operation="login", tag="account"),
    Route(method="POST", path="/api/auth/logout", operation="logout", tag="account", envelope=Envelope.EMPTY),
)
