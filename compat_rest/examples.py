"""Made-up values for the OpenAPI document: one scan of one image, told the same way in every operation.

A value is read off its schema wherever that says enough: an id by its prefix, what a description gives as its like or its
default, a bound, the first member of an enum. What only a person can make up stands in `_SAID`. A field that nobody has
said anything about gets its own name in words, which a pattern may refuse; a test then asks for a line here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schema.kernel.ids import IdPrefix
from schema.kernel.secrets import TOKEN_PREFIX_LENGTH

Json = dict[str, Any]

_MOMENT = "2026-04-26T14:22:11.000Z"


def example_id(prefix: str) -> str:
    """Of the form of `schema.kernel.ids`, always the same."""
    digest = hashlib.sha256(prefix.encode()).digest()[:16]
    return f"{prefix}-{base64.b32hexencode(digest).decode().rstrip('=').lower()}"


def _digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def _token(prefix: str) -> str:
    return prefix + "0123456789abcdef" * 3


# By the name of a field, or of its schema and the field, or of an operation and its parameter; the longer name goes first.
# Passed over where the schema takes no value of that type. The flaw is a published one, and in the sample advisories.
_SAID: Mapping[str, Any] = {
    # What is scanned, and what came of it
    "image": "ghcr.io/acme/api:1.4.7",
    "Vulnerability.image": "ghcr.io/acme/api",
    "VulnerabilityDetail.image": "ghcr.io/acme/api",
    "listVulnerabilities.image": "ghcr.io/acme/api",
    "reference": "ghcr.io/acme/api:1.4.7",
    "registry": "ghcr.io",
    "Image.name": "ghcr.io/acme/api",
    "Tag.name": "1.4.7",
    "latestTag": "1.4.7",
    "latestDigest": _digest("digest"),
    "ScanProgress.id": example_id(IdPrefix.SCAN),
    "ScanProgress.status": "IN_PROGRESS",
    "ScanProgress.phase": "INVENTORY",
    "ScanProgress.progress": 40,
    "ScanProgress.message": f"Fetched {_digest('digest')}",
    "ScanProgress.compliance": None,
    "ScanProgress.riskScore": None,
    "EngineProgress.status": "RUNNING",
    "EngineProgress.message": None,
    "EngineProgress.provider": None,
    "TriggerScanScan.status": "QUEUED",
    "CancelScanScan.status": "CANCELLED",
    "CancelScanScan.progress": 40,
    "progress": 100,
    "riskScore": 86,
    "gradeReason": None,
    "failureCode": None,
    "failureReason": None,
    "requestedBy": f"api-key:{example_id(IdPrefix.API_KEY)}",
    "duration": 912,
    "SeverityCounts.critical": 1,
    "SeverityCounts.high": 3,
    "SeverityCounts.medium": 5,
    "SeverityCounts.low": 2,
    "SeverityCounts.unknown": 0,
    "SeverityCounts.total": 11,
    "fixable": 7,
    "kev": 0,
    "findingCount": 11,
    "packageCount": 155,
    "EngineRun.message": "trivy is not installed; the native provider answered",
    "ScanLogLine.level": "info",
    "ScanLogLine.message": f"Fetched {_digest('digest')}",
    "createdBy": example_id(IdPrefix.USER),
    "Layer.createdBy": "RUN apt-get update && apt-get install -y libexpat1",
    "sizeBytes": 29_151_251,
    "diffSizeBytes": 77_824_000,
    "fileCount": 3401,
    "index": 0,
    "layerIndex": 0,
    "sha256": hashlib.sha256(b"archive").hexdigest(),
    # A flaw and the package it is in
    "cveId": "CVE-2024-45490",
    "aliases": ["DEBIAN-CVE-2024-45490"],
    "title": "expat accepts a negative buffer length",
    "AdvisoryText.id": "DEBIAN-CVE-2024-45490",
    "summary": "expat accepts a negative buffer length",
    "details": "XML_ParseBuffer() does not refuse it and corrupts memory.",
    "references": ["https://security-tracker.debian.org/tracker/CVE-2024-45490"],
    "cvss": 9.8,
    "cvssVectors": ["CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"],
    "VulnerablePackage.name": "libexpat1",
    "VulnerablePackage.version": "2.5.0-1",
    "Package.name": "libexpat1",
    "Package.version": "2.5.0-1",
    "package": "libexpat1",
    "ecosystem": "Debian:12",
    "sourceName": "expat",
    "sourceVersion": "2.5.0-1",
    "purl": "pkg:deb/debian/libexpat1@2.5.0-1?arch=amd64&distro=debian-12",
    "licenses": ["MIT"],
    "architecture": "amd64",
    "path": "var/lib/dpkg/status",
    "fixedVersions": ["2.5.0-1+deb12u1"],
    "sources": ["native"],
    "Finding.engines": ["trivy"],
    "Finding.fixable": True,
    "Vulnerability.fixable": True,
    "VulnerabilityDetail.fixable": True,
    "EcosystemCoverage.packages": 155,
    "EcosystemCoverage.covered": True,
    "advisories": 41_730,
    "records": 41_730,
    "rejected": 0,
    "AdvisoryImport.source": "https://osv-vulnerabilities.storage.googleapis.com/Debian/all.zip",
    "search": "expat",
    # Who signs; the key is that of TEST 1 in RFC 8032, which everybody has
    "pem": (
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
        "-----END PUBLIC KEY-----\n"
    ),
    "algorithm": "ed25519",
    # What was decided about it
    "epss": 0.83,
    "epssPercentile": 0.99,
    "epssMin": 0.5,
    "epssMax": 1,
    "CvssVector.vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    "CvssVector.version": "3.1",
    "CvssVector.score": 9.8,
    "slaDeadline": "2031-04-27T14:22:11.000Z",
    "assignee": "ada@acme.example",
    "listVulnerabilities.assignee": example_id(IdPrefix.USER),
    "groupVulnerabilities.assignee": example_id(IdPrefix.USER),
    "groupVulnerabilities.image": "ghcr.io/acme/api",
    "AffectedImage.image": "ghcr.io/acme/web",
    "AffectedImage.version": "2.5.0-1",
    "tag": "release-*",
    "tagPattern": "release-*",
    "comment": "Upgrade is planned for the next sprint",
    "TriageInput.status": "ACKNOWLEDGED",
    "BulkTriageInput.status": "ACKNOWLEDGED",
    "BulkTriageInput.filter": None,
    "TriageResult.error": None,
    "TriageRuleInput.status": "WONT_FIX",
    "TriageRule.decidesOn": "WONT_FIX",
    "TriageEvent.toStatus": "ACKNOWLEDGED",
    "changes": ["reason"],
    "actor": example_id(IdPrefix.USER),
    "updatedBy": example_id(IdPrefix.USER),
    "decidedBy": example_id(IdPrefix.USER),
    "attestedBy": example_id(IdPrefix.USER),
    "owner": example_id(IdPrefix.USER),
    "undoneAt": None,
    "undoes": None,
    "SavedFilterInput.name": "What to fix first",
    "SavedFilter.name": "What to fix first",
    "SavedFilterInput.query": "severity=CRITICAL&fixable=true",
    "SavedFilter.query": "severity=CRITICAL&fixable=true",
    "VulnerabilityGroup.value": "CVE-2024-45490",
    "VulnerabilityGroup.name": "CVE-2024-45490",
    "VulnerabilityGroup.kev": False,
    "DistinctValue.value": "CVE-2024-45490",
    "DistinctValue.label": None,
    "reason": "The parser is never given what a stranger sends",
    "evidence": "https://tickets.acme.example/SEC-42",
    "AttestationScopeInput.type": "blanket",
    "AttestationScope.type": "blanket",
    "asOfDate": None,
    "tagId": None,
    "AttestationEvent.action": "created",
    "Event.subject": example_id(IdPrefix.VULNERABILITY),
    "EventDetail.name": "cveId",
    "EventDetail.value": "CVE-2024-45490",
    "VexImport.format": "openvex",
    "VexImport.document": hashlib.sha256(b"vex").hexdigest(),
    "VexResult.outcome": "created",
    "VexResult.product": "pkg:deb/debian/libexpat1",
    "VexResult.message": None,
    # What is watched for
    "CveWatch.enabled": True,
    "CveWatchInput.enabled": True,
    "minSeverityFilter": "MEDIUM",
    "CveWatch.sources": ["nvd", "ghsa", "cisa_kev", "osv"],
    "CveWatchInput.sources": ["ghsa", "cisa_kev", "osv"],
    "CveAlert.source": "cisa_kev",
    "CveAlert.kev": True,
    "CveAlert.changes": [{"change": "detected", "severity": "CRITICAL", "at": _MOMENT}],
    "CveAlert.packageName": "libexpat1",
    "AlertImage.packageName": "libexpat1",
    "listCveAlerts.packageName": "libexpat1",
    "imageName": "ghcr.io/acme/api",
    "installedVersion": "2.5.0-1",
    "fixedVersion": "2.5.0-1+deb12u1",
    # How it is met what is demanded
    "SlaPolicy.critical": 1,
    "SlaPolicy.high": 3,
    "SlaPolicy.medium": 7,
    "SlaPolicy.low": 14,
    "SlaPolicyInput.critical": 1,
    "SlaPolicyInput.high": 3,
    "SlaPolicyInput.medium": 7,
    "SlaPolicyInput.low": 14,
    "activeFramework": ["SOC2"],
    "slaBreach": [],
    "slaWarning": [],
    "day": "2026-04-26",
    "coverage": 0.94,
    "mttrDays": 2.4,
    "MttrBySeverity.days": 2.4,
    # Where images come from
    "CreateRegistryInput.name": "Acme on GHCR",
    "UpdateRegistryInput.name": "Acme on GHCR",
    "Registry.name": "Acme on GHCR",
    "SavedRegistry.name": "Acme on GHCR",
    "listRegistries.search": "acme",
    "CreateRegistryInput.username": "acme-bot",
    "UpdateRegistryInput.username": "acme-bot",
    "TestConnectionInput.username": "acme-bot",
    "CreateRegistryInput.password": "a classic token with the scope read:packages",
    "UpdateRegistryInput.password": "a classic token with the scope read:packages",
    "TestConnectionInput.password": "a classic token with the scope read:packages",
    "RegistryOptionsInput.project": None,
    "RegistryOptionsInput.region": None,
    "RegistryOptions.project": None,
    "RegistryOptions.region": None,
    "hasCredentials": True,
    "schedule": "cron",
    "statusMessage": None,
    "health": 100,
    "sensorApiKey": None,
    "online": True,
    "ConnectionTest.ok": True,
    "ConnectionTest.message": "The registry answers and takes the credentials",
    "ConnectionTest.latencyMs": 84,
    # Many tags at once
    "StartScanBatchInput.images": "ghcr.io/acme/*",
    "ScanBatch.images": "ghcr.io/acme/*",
    "tagExclude": "*-dev",
    "ScanBatch.message": None,
    "scanCount": 12,
    "queuedCount": 8,
    "inProgressCount": 2,
    "completeCount": 2,
    "failedCount": 0,
    "cancelledCount": 0,
    "ScanBatch.requestedBy": "user:usr-06h1den3ktsq741icbheld2cfg",
    "ScanBatch.cancelledAt": None,
    "ScheduleScansInput.registryIds": None,
    # Who asks
    "email": "ada@acme.example",
    "password": "correct horse battery staple",
    "organization": "Acme",
    "Organization.name": "Acme",
    "Organization.plan": "TEAM",
    "name": "pipeline",
    "User.name": "Ada Lovelace",
    "CompleteSetupInput.name": "Ada Lovelace",
    "CompleteSetupInput.token": _token("hg_setup_"),
    "Me.role": "developer",
    # Who scans elsewhere
    "Sensor.name": "edge-1",
    "hostname": "edge-1.acme.example",
    "activeScans": 0,
    "Sensor.version": "0.1.0",
    "capabilities": ["scan"],
    "ScannerVersion.name": "trivy",
    "ScannerVersion.version": "Version: 0.69.3",
    "ok": True,
    "SensorScan.platform": None,
    "cancelJobs": [],
    "permissions": ["scans:create", "scans:view"],
    "prefix": _token("hg_ak_")[:TOKEN_PREFIX_LENGTH],
    "PersonalAccessToken.prefix": _token("hg_pat_")[:TOKEN_PREFIX_LENGTH],
    "CreatedPersonalAccessToken.prefix": _token("hg_pat_")[:TOKEN_PREFIX_LENGTH],
    "PresentedCredential.name": None,
    "PresentedCredential.prefix": None,
    "registryId": None,
    "CreatedApiKey.lastUsed": None,
    "CreatedPersonalAccessToken.lastUsed": None,
    "Last-Event-ID": "1",
    # When
    "startedAt": "2026-04-26T14:22:12.000Z",
    "scannedAt": "2026-04-26T14:22:12.912Z",
    "finishedAt": "2026-04-26T14:22:30.000Z",
    "expiresAt": "2031-04-26T00:00:00.000Z",
    "remediatedAt": None,
    "publishedAt": "2024-08-30T00:00:00.000Z",
}
# Members of an enum that fit a scan that is done better than its first.
_MEMBERS = {
    "ScanStatus": "COMPLETE",
    "EngineRunStatus": "COMPLETE",
    "ScanPhase": "DONE",
    "Grade": "D",
    "ScanBatchStatus": "IN_PROGRESS",
    "RegistryProvider": "GHCR",
    "RegistryAuthentication": "token",
    "Role": "ci",
}
# What sensors say, by operation: no schema tells it.
MESSAGES: Mapping[str, Json] = {
    "importAttestations": {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://acme.example/vex/1",
        "author": "Acme",
        "timestamp": _MOMENT,
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": "CVE-2024-45490"},
                "products": [{"@id": "pkg:deb/debian/libexpat1"}],
                "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path",
            }
        ],
    },
    "registerSensor": {
        "name": "edge-1",
        "version": "0.1.0",
        "hostname": "edge-1.acme.example",
        "os": "linux",
        "arch": "amd64",
        "scannerVersions": {"trivy": "Version: 0.69.3"},
        "capabilities": ["scan"],
        "s3Configured": False,
    },
    "sendSensorHeartbeat": {
        "agentId": example_id(IdPrefix.SENSOR),
        "status": "idle",
        "activeScans": 0,
        "uptimeSeconds": 3600,
    },
    "reportSensorJob": {"status": "completed"},
    "reportCatalog": {
        "agentId": example_id(IdPrefix.SENSOR),
        "registryUrl": "https://registry.acme.example",
        "provider": "generic",
        "repositories": [{"name": "team/api", "tags": ["1.4.7"]}],
        "discoveredAt": _MOMENT,
    },
    "uploadScan": {
        "version": "1.0",
        "sensor": {"version": "0.1.0", "scannerVersions": {"trivy": "Version: 0.69.3"}},
        "image": {"ref": "ghcr.io/acme/api:1.4.7", "name": "api", "tag": "1.4.7"},
        "scan": {
            "id": "0b8f5ad0-8f0c-4a3e-9c0e-6a1f0e9e4b11",
            "startedAt": "2026-04-26T14:22:11Z",
            "finishedAt": "2026-04-26T14:22:31Z",
            "status": "SUCCESS",
        },
        "findings": {"vulnerabilities": [], "packages": [], "compliance": [], "efficiency": []},
        "aggregates": {"vulnerabilityCounts": {}, "riskScore": 0, "totalPackages": 0},
    },
    "uploadPatch": {"version": "1.0", "source": {"ref": "ghcr.io/acme/api:1.4.7"}, "patch": {"id": "patch-1"}},
    "uploadExport": {"version": "1.0", "source": {"ref": "ghcr.io/acme/api:1.4.7"}, "export": {"id": "export-1"}},
}
_JSON_TYPES: Mapping[type, tuple[str, ...]] = {
    type(None): ("null",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
}
_ID = re.compile(r"`([a-z]+)-…`")
_TOKEN = re.compile(r"`(hg_[a-z]+_)…`")
_LIKE = re.compile(r"(?:[Ll]ike |: )`([^`…]+)`")
_DEFAULT = re.compile(r"\b[Dd]efault ([^\s,;]+?)[.,;]?(?:\s|$)")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


class Examples:
    """Makes examples for schemas whose references lead into `components` (of `#/components/schemas`)."""

    def __init__(self, components: Mapping[str, Json]) -> None:
        self._components = components

    def of(self, schema: Json, name: str = "", owner: str = "") -> Any:
        """An example for the field or parameter `name` of the schema or operation `owner`."""
        for said in (_SAID[key] for key in (f"{owner}.{name}", name) if key in _SAID):
            if self._takes(schema, said):
                return said
        schema, owner = self._resolved(schema, owner)
        if "const" in schema:
            return schema["const"]
        return _member(schema, owner) if "enum" in schema else self._made(schema, name, owner)

    def _made(self, schema: Json, name: str, owner: str) -> Any:
        match next(iter(_types(schema)), None):
            case "object":
                return {
                    field: self.of(inner, field, owner)
                    for field, inner in schema.get("properties", {}).items()
                    if not _is_optional_reference(field, schema)
                }
            case "array":
                return [self.of(schema["items"], name, owner)]
            case "string":
                return _text(schema, name)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return False
        return None

    def _takes(self, schema: Json, value: Any) -> bool:
        """Whether the schema takes a value of that type; which texts and numbers it takes is for a test to see."""
        if any(self._takes(part, value) for part in schema.get("anyOf", ())):
            return True
        resolved, _ = self._resolved(schema, "")
        fits = not set(_JSON_TYPES[type(value)]).isdisjoint(_types(resolved))
        return fits and value in resolved.get("enum", [value])

    def _resolved(self, schema: Json, owner: str) -> tuple[Json, str]:
        """What a schema says without references and null, with the description of the place; and whose fields it has."""
        description = {"description": schema["description"]} if "description" in schema else {}
        if "anyOf" in schema:
            schema = next(part for part in schema["anyOf"] if part != {"type": "null"})
        if "$ref" in schema:
            owner = schema["$ref"].rpartition("/")[2]
            schema = self._components[owner]
        return schema | description, owner


def _types(schema: Json) -> tuple[str, ...]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _member(schema: Json, name: str) -> Any:
    default = _DEFAULT.search(schema.get("description", ""))
    wanted = (default and default[1], _MEMBERS.get(name))
    return next((each for each in wanted if each in schema["enum"]), schema["enum"][0])


def _is_optional_reference(field: str, schema: Json) -> bool:
    """Left out, so that the example of a request can be sent as it is: nothing of that id is there."""
    return field.endswith("Id") and field not in schema.get("required", ())


def _number(schema: Json) -> Any:
    smallest = max(1, schema.get("minimum", 1))
    return schema.get("default", min(smallest, schema.get("maximum", smallest)))


def _text(schema: Json, name: str) -> str:
    if schema.get("format") == "date-time":
        return _MOMENT
    text = next(_readings(schema.get("description", ""), name), " ".join(_WORDS.findall(name)).lower() or "text")
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _readings(description: str, name: str) -> Iterator[str]:
    """What a description and a name say of a text, the surest first."""
    if found := _ID.search(description):
        yield example_id(found[1])
    if found := _TOKEN.search(description):
        yield _token(found[1])
    if found := _LIKE.search(description) or _DEFAULT.search(description):
        yield found[1]
    words = [word.upper() for word in _WORDS.findall(name)]
    if words[-1:] == ["ID"]:
        yield from (example_id(prefix) for prefix in IdPrefix if prefix.name in words[-2:])
    if "DIGEST" in words or name == "diffId":
        yield _digest(name)
