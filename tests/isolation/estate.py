"""Two organizations that own one of everything, so that every operation has something to leak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from app.authentication import SESSION_COOKIE
from compat_rest.routes import Route
from schema.build import build_schema
from schema.credentials.resolve import principal_for_session
from schema.dependencies.records import Inventory, LayerRecord, PackageRecord, PackageType
from schema.events.models import EventType
from schema.events.repository import emit
from schema.execution.documents import PreparedOperation
from schema.execution.executable import Request
from schema.images.models import Tag, TagDigest
from schema.kernel.context import RequestContext
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import RateBudget, RateState
from schema.kernel.principal import Principal
from schema.kernel.scalars import ByteStream
from schema.posture.repository import take
from schema.registries.models import Registry, RegistryEvent, RegistryProvider, RegistrySync, Schedule, SyncStatus
from schema.registries.repository import add_registry
from schema.scans.batches.running import BatchRequest, queue_batch
from schema.scans.evidence import (
    CheckLevel,
    CheckOutcome,
    ImageEfficiency,
    LayerUsage,
    MisconfigurationRecord,
    SecretRecord,
    WastedFile,
)
from schema.scans.ingest import EngineResult, FetchedImage, ScanResults, compressed, ingest
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine, EngineRunStatus, Scan
from schema.scans.repository import load_scan
from schema.scans.trigger import ScanRequest, queue_scan
from schema.sensors.messages import Registration
from schema.sensors.repository import file_sensor
from schema.vulnerabilities.models import Vulnerability
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.watch.looking import look
from tests.app.site import Site, Tenant
from tests.factories.statements import new_key, public_pem

SCHEMA = build_schema()


class Unlimited:
    """Isolation is asked for hundreds of times a minute here; how often is another test's business."""

    async def hit(self, budget: RateBudget, bucket: str) -> RateState:
        return RateState(allowed=True, limit=budget.requests, remaining=budget.requests, reset_at=0)


@dataclass(frozen=True, kw_only=True)
class Estate:
    """An organization, its owner as a caller, and the id of one thing of each kind it owns."""

    tenant: Tenant
    principal: Principal
    ids: dict[IdPrefix, str]
    canary: str  # part of every name it gave

    def marks(self) -> list[str]:
        """Whatever must never be seen by anybody else."""
        return [self.canary, self.tenant.organization_id, *self.ids.values()]


def query_of(route: Route, ids: Mapping[IdPrefix, str]) -> dict[str, str]:
    """Query parameters without which a route does not answer."""
    if route.operation == "compareScans":
        return {"base": ids[IdPrefix.SCAN], "target": ids[IdPrefix.TAG]}
    if route.operation == "listDependencyOccurrences":
        return {"name": "openssl"}
    if route.operation == "groupVulnerabilities":
        return {"by": "FLAW"}
    if route.operation == "listDistinctValues":
        return {"field": "cveId"}
    return {"format": "json"} if route.operation in {"exportScan", "exportImage"} else {}


_BODIES: Mapping[str, dict[str, str | bool | None]] = {
    "updateRegistry": {"tagInclude": "v*"},
    "triageVulnerability": {"comment": "noted"},
    "postVulnerabilityTriage": {"comment": "noted"},
    "updateSavedFilter": {"name": "mine", "query": "kev=true"},
    "renewAttestation": {"expiresAt": None},
    "revokeAttestation": {"reason": "no longer so"},
    "suppressCveAlert": {"suppressed": True},
}


def body_of(route: Route) -> dict[str, str | bool | None] | None:
    """The body without which a route that names a thing does not answer."""
    return _BODIES.get(route.operation)


async def run(site: Site, principal: Principal, document: str, variables: dict[str, Any]) -> Any:
    """The answer to a query or mutation."""
    context = RequestContext(
        services=site.services, principal_or_none=principal, request_id="req", client_ip="192.0.2.9"
    )
    operation = SCHEMA.operation(Request(document, variables), context)
    assert isinstance(operation, PreparedOperation), operation
    return await SCHEMA.execute(operation, variables, context)


async def furnish(site: Site, name: str) -> Estate:
    tenant = await site.tenant(name)
    async with site.client() as client:
        await site.sign_in(client, tenant)
        principal = await principal_for_session(site.services, client.cookies[SESSION_COOKIE])
    assert principal is not None
    canary = f"canary-{name}"
    ids = await _scanned(site, principal, canary)
    ids |= await _credentials(site, principal, canary)
    ids[IdPrefix.UPLOAD] = await _upload(site, principal, canary)
    async with site.database.write() as session:
        ids[IdPrefix.REGISTRY] = await add_registry(
            session,
            tenant.organization_id,
            name=canary,
            provider=RegistryProvider.CUSTOM,
            host=f"{canary}.example",
            insecure=False,
            username=None,
            password=None,
            keys=site.services.keys,
            now=datetime.now(UTC),
        )
        ids[IdPrefix.SCAN_BATCH] = await queue_batch(
            session,
            tenant.organization_id,
            BatchRequest(images=f"{canary}.example/*"),
            requested_by=f"user:{canary}",
            now=datetime.now(UTC),
        )
        await session.execute(
            update(Scan).where(col(Scan.id) == ids[IdPrefix.SCAN]).values(batch_id=ids[IdPrefix.SCAN_BATCH])
        )
        await session.execute(
            insert(RegistryEvent).values(
                id=new_id(IdPrefix.REGISTRY_EVENT),
                organization_id=tenant.organization_id,
                registry_id=ids[IdPrefix.REGISTRY],
                fingerprint=canary,
                images=[f"{canary}.example/app:1"],
                outcome="1 filed",
                received_at=datetime.now(UTC),
            )
        )
        await session.execute(
            update(Registry).where(col(Registry.id) == ids[IdPrefix.REGISTRY]).values(schedule=Schedule.DAILY)
        )
        ids[IdPrefix.SYNC] = new_id(IdPrefix.SYNC)
        await session.execute(
            insert(RegistrySync).values(
                id=ids[IdPrefix.SYNC],
                organization_id=tenant.organization_id,
                registry_id=ids[IdPrefix.REGISTRY],
                status=SyncStatus.COMPLETE,
                requested_by=f"user:{canary}",
                created_at=datetime.now(UTC) - timedelta(days=30),  # long enough ago for another one
            )
        )
        await session.execute(
            insert(TagDigest).values(
                id=new_id(IdPrefix.TAG_DIGEST),
                organization_id=tenant.organization_id,
                tag_id=ids[IdPrefix.TAG],
                digest=f"sha256:{canary}",
                since=datetime.now(UTC),
            )
        )
    ids[IdPrefix.SENSOR] = await _sensor(site, principal, ids, canary)
    ids[IdPrefix.USER] = tenant.user_id
    ids[IdPrefix.ALERT] = await _alert(site, principal)
    ids |= await _decisions(site, principal, ids, canary)
    return Estate(tenant=tenant, principal=principal, ids=ids, canary=canary)


async def _scanned(site: Site, principal: Principal, canary: str) -> dict[IdPrefix, str]:
    """A complete scan with one of everything it can hold."""
    now = datetime.now(UTC)
    package = PackageRecord(
        name=f"{canary}-package",
        version="1.0",
        type=PackageType.PIP,
        ecosystem="PyPI",
        source_name=f"{canary}-package",
        source_version="1.0",
        purl=f"pkg:pypi/{canary}-package@1.0",
        licenses=(f"{canary}-licence",),
        path=f"srv/{canary}/METADATA",
        layer_digest="sha256:" + "1" * 64,
        layer_index=0,
    )
    layer = LayerRecord(
        index=0,
        digest="sha256:" + "2" * 64,
        diff_id="sha256:" + "1" * 64,
        media_type="application/vnd.oci.image.layer.v1.tar",
        size=1,
        diff_size=1,
        file_count=1,
        created_by=f"COPY {canary}",
    )
    finding = FindingRecord(
        vulnerability_id=f"CVE-{canary}",
        aliases=(),
        advisory_ids=(),
        package=package,
        severity=Severity.HIGH,
        cvss_score=7.5,
        cvss_vectors=(),
        fixed_versions=("2.0",),
        title=f"{canary} flaw",
    )
    failed = MisconfigurationRecord(
        check_id="CIS-DI-0001",
        title=f"{canary} runs as root",
        level=CheckLevel.WARN,
        severity=Severity.MEDIUM,
        evidence=(f"User of {canary} is empty",),
        remediation="Set USER",
    )
    secret = SecretRecord(
        rule="aws-access-key-id",
        title="AWS access key",
        severity=Severity.CRITICAL,
        path=f"srv/{canary}/.env",
        line=3,
        masked="AKIA****",
        layer_digest="sha256:" + "1" * 64,
        layer_index=0,
    )
    merged = merge(
        [
            Voice(
                source="native",
                packages=(package,),
                findings=(finding,),
                misconfigurations=(failed,),
                secrets=(secret,),
            )
        ]
    )
    results = ScanResults(
        image=FetchedImage(
            operating_system=None, digest="sha256:" + "3" * 64, platform="linux/amd64", size_bytes=1, config={}
        ),
        inventory=Inventory(operating_system=None, packages=(package,), layers=(layer,)),
        engines=(
            EngineResult(
                engine=Engine.SYFT,
                status=EngineRunStatus.COMPLETE,
                provider="native",
                output=f'"{canary}"'.encode(),
            ),
        ),
        packages=merged.packages,
        findings=merged.findings,
        misconfigurations=merged.misconfigurations,
        secrets=merged.secrets,
        checks=(CheckOutcome(check_id="CIS-DI-0001", failures=1),),
        efficiency=ImageEfficiency(
            total_bytes=2,
            wasted_bytes=1,
            efficiency=0.5,
            layers=(LayerUsage(index=0, diff_id="sha256:" + "1" * 64, bytes=2, added=2, changed=0, removed=0),),
            wasted_files=(WastedFile(path=f"srv/{canary}/twice", count=2, bytes=1),),
        ),
        grade_reason=None,
    )
    async with site.database.write() as session:
        request = ScanRequest(image=f"{canary}.example/app:1", scanners=(Engine.SYFT,))
        scan_id = await queue_scan(session, request, principal, now=now)
        scan = await load_scan(session, principal.organization_id, scan_id)
        await ingest(session, scan, compressed(results), now=now)
        vulnerability = select(col(Vulnerability.id)).where(
            col(Vulnerability.organization_id) == principal.organization_id
        )
        tag = select(col(Tag.id)).where(col(Tag.organization_id) == principal.organization_id)
        return {
            IdPrefix.SCAN: scan_id,
            IdPrefix.IMAGE: scan.image_id,
            IdPrefix.VULNERABILITY: (await session.execute(vulnerability)).scalar_one(),
            IdPrefix.TAG: (await session.execute(tag)).scalar_one(),
        }


async def _credentials(site: Site, principal: Principal, canary: str) -> dict[IdPrefix, str]:
    ids = {}
    for prefix, field, kind in (
        (IdPrefix.API_KEY, "createApiKey", "CreateApiKeyInput"),
        (IdPrefix.PERSONAL_ACCESS_TOKEN, "createPersonalAccessToken", "CreatePersonalAccessTokenInput"),
    ):
        document = f"mutation($input: {kind}!) {{ {field}(input: $input) {{ id }} }}"
        result = await run(site, principal, document, {"input": {"name": canary}})
        assert result.errors is None
        ids[prefix] = result.data[field]["id"]
    async with site.client() as client:
        response = await client.post(
            "/api/auth/login", json={"email": f"ada@{canary.removeprefix('canary-')}.example", "password": PASSWORD}
        )
        assert response.status_code == 200
    sessions = await run(site, principal, "{ sessions { items { id } } }", {})
    ids[IdPrefix.SESSION] = sessions.data["sessions"]["items"][0]["id"]
    return ids


async def _decisions(site: Site, principal: Principal, ids: Mapping[IdPrefix, str], canary: str) -> dict[IdPrefix, str]:
    """What was decided about the vulnerability, and what is decided about others."""
    made: dict[IdPrefix, str] = {}
    for prefix, document, given in (
        (
            IdPrefix.TRIAGE_OPERATION,
            "mutation($input: BulkTriageInput!) { made: triageVulnerabilities(input: $input) { id: operationId } }",
            {"ids": [ids[IdPrefix.VULNERABILITY]], "status": "ACKNOWLEDGED", "comment": canary, "reason": canary},
        ),
        (
            IdPrefix.TRIAGE_RULE,
            "mutation($input: TriageRuleInput!) { made: createTriageRule(input: $input) { id } }",
            {"package": f"{canary}-later", "status": "WONT_FIX", "imageId": ids[IdPrefix.IMAGE], "reason": canary},
        ),
        (
            IdPrefix.SAVED_FILTER,
            "mutation($input: SavedFilterInput!) { made: createSavedFilter(input: $input) { id } }",
            {"name": canary, "query": f"package={canary}", "shared": True},
        ),
        (
            IdPrefix.TRUSTED_KEY,
            "mutation($input: TrustedKeyInput!) { made: addTrustedKey(input: $input) { id } }",
            {"name": canary, "pem": public_pem(new_key())},
        ),
        (
            IdPrefix.ATTESTATION,
            "mutation($input: AttestationInput!) { made: createAttestation(input: $input) { id } }",
            {
                "cveId": f"CVE-{canary}",
                "package": f"{canary}-package",
                "category": "risk_accepted",
                "reason": canary,
                "scope": {"type": "tag", "tagId": ids[IdPrefix.TAG]},
            },
        ),
    ):
        result = await run(site, principal, document, {"input": given})
        assert result.errors is None, result.errors
        made[prefix] = result.data["made"]["id"]
    async with site.database.write() as session:
        await emit(
            session,
            principal.organization_id,
            EventType.SLA_WARNING,
            subject=ids[IdPrefix.VULNERABILITY],
            key=canary,
            details={"image": canary},
            now=datetime.now(UTC),
        )
        await take(session, principal.organization_id, now=datetime.now(UTC))
    return made


async def _alert(site: Site, principal: Principal) -> str:
    """Of the one flaw, before anybody attests it."""

    async def hold(_session: AsyncSession) -> None:
        """Nobody else looks."""

    assert await look(site.database, principal.organization_id, hold=hold, clock=lambda: datetime.now(UTC)) == 1
    result = await run(site, principal, "{ cveAlerts { items { id } } }", {})
    return str(result.data["cveAlerts"]["items"][0]["id"])


async def _sensor(site: Site, principal: Principal, ids: Mapping[IdPrefix, str], canary: str) -> str:
    """One that registers with the key of the estate, as if that were bound to the registry."""
    async with site.database.write() as session:
        sensor_id, _ = await file_sensor(
            session,
            principal.organization_id,
            ids[IdPrefix.API_KEY],
            ids[IdPrefix.REGISTRY],
            Registration.read({"name": canary, "hostname": canary, "scannerVersions": {"trivy": canary}}),
            now=datetime.now(UTC),
        )
    return sensor_id


async def _upload(site: Site, principal: Principal, canary: str) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"archive"

    document = "mutation($image: String!, $archive: Archive!) { uploadImage(image: $image, archive: $archive) { id } }"
    result = await run(site, principal, document, {"image": f"{canary}/up:1", "archive": ByteStream(chunks())})
    assert result.errors is None
    return str(result.data["uploadImage"]["id"])


PASSWORD = "correct horse battery"
