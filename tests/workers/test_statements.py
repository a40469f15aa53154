"""What is signed about an image is kept with its scan: verified by the keys its organization trusts, and never in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network

import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.kernel.clock import utc_now
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.public_keys import describe
from schema.registries.models import RegistryProvider
from schema.registries.repository import add_registry
from schema.scans.models import Engine, Scan, ScanLog, ScanStatus
from schema.scans.trigger import ScanRequest, queue_scan
from schema.statements.models import ImageStatement, StatementOutcome
from schema.statements.repository import delete_key, insert_key
from tests.factories.statements import MANIFEST, SLSA, envelope, holder, new_key, statement
from tests.simulators.registry import RegistrySimulator, Stage, answering, resolve_to_loopback, serving
from tests.workers.workshop import Workshop, debian
from workers.runner import JobRunner
from workers.workspace import Workspace

OURS, THEIRS = new_key(), new_key()
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Signed:
    """An organization, a registry with an image, and statements beside that."""

    def __init__(self, workshop: Workshop, registry: RegistrySimulator, http: OutgoingClient) -> None:
        self.workshop, self.registry, self.http = workshop, registry, http
        self.image = debian()
        self.registry.add("team/app", self.image, "1")

    async def open(self) -> None:
        async with self.workshop.database.write() as session:
            await add_registry(
                session,
                self.organization_id,
                name="registry",
                provider=RegistryProvider.DOCKER_REGISTRY,
                host=self.registry.host,
                insecure=True,
                username=None,
                password=None,
                keys=self.workshop.services.keys,
                now=utc_now(),
            )

    @property
    def organization_id(self) -> str:
        return self.workshop.principal.organization_id

    async def trust(self, name: str = "release", key: object = OURS) -> str:
        public, key_id = describe(key.public_key()), new_id(IdPrefix.TRUSTED_KEY)  # type: ignore[attr-defined]
        values = {
            "id": key_id,
            "organization_id": self.organization_id,
            "name": name,
            "pem": public.pem,
            "fingerprint": public.fingerprint,
            "algorithm": public.algorithm,
            "created_by": "somebody",
            "created_at": utc_now(),
        }
        async with self.workshop.database.write() as session:
            await insert_key(session, values)
        return key_id

    def attach(self, *keys: object) -> None:
        manifest, blobs = holder(*(envelope(statement(self.image.digest), key) for key in keys))  # type: ignore[arg-type]
        tag = self.image.digest.replace(":", "-") + ".att"
        self.registry.put_manifest("team/app", tag, manifest, media_type=MANIFEST)
        self.registry.put_blobs("team/app", blobs)

    async def scan(self) -> tuple[Scan, list[ImageStatement]]:
        request = ScanRequest(image=f"{self.registry.host}/team/app:1", scanners=(Engine.TRIVY, Engine.SYFT))
        async with self.workshop.database.write() as session:
            scan_id = await queue_scan(session, request, self.workshop.principal, now=utc_now())
        runtime = self.workshop.runtime(http=self.http)
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            runner = JobRunner(runtime, workspace)
            try:
                await runner.work_on(await self.workshop.lease())
            finally:
                await runner.close()
        rows = [row for row in await self.workshop.rows(ImageStatement) if row.scan_id == scan_id]
        return await self.workshop.scan(scan_id), rows

    async def told(self, scan: Scan) -> str:
        return "\n".join(row.message for row in await self.workshop.rows(ScanLog) if row.scan_id == scan.id)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture
async def signed(workshop: Workshop, stage: Stage) -> AsyncIterator[Signed]:
    async with OutgoingClient(OutgoingPolicy(allowed_networks=LOOPBACK), resolve=resolve_to_loopback) as http:
        signed = Signed(workshop, stage.new_registry(), http)
        await signed.open()
        yield signed


async def test_a_scan_tells_what_a_trusted_key_has_signed(signed: Signed) -> None:
    signed.attach(OURS, THEIRS)
    await signed.trust()

    scan, rows = await signed.scan()

    assert scan.status is ScanStatus.COMPLETE
    told = {row.outcome: (row.signed_by, row.predicate_type) for row in rows}
    assert told == {StatementOutcome.VERIFIED: ("release", SLSA), StatementOutcome.UNTRUSTED: (None, SLSA)}
    assert {row.fingerprint for row in rows if row.signed_by} == {describe(OURS.public_key()).fingerprint}
    assert "Found 2 signed statements beside the image, 1 verified" in await signed.told(scan)


async def test_nobody_looks_while_no_key_is_trusted(signed: Signed) -> None:
    signed.attach(OURS)
    scan, rows = await signed.scan()
    assert (scan.status, rows) == (ScanStatus.COMPLETE, [])
    assert signed.registry.asked(".att") == []


async def test_an_image_that_is_known_is_looked_beside_again(signed: Signed) -> None:
    """Its results stand, and a key that is trusted since, or no longer, counts."""
    signed.attach(OURS)
    key_id = await signed.trust("theirs", THEIRS)
    _, before = await signed.scan()
    await signed.trust()
    async with signed.workshop.database.write() as session:
        await delete_key(session, signed.organization_id, key_id)
    scan, after = await signed.scan()
    assert [row.outcome for row in before] == [StatementOutcome.UNTRUSTED]
    assert [row.outcome for row in after] == [StatementOutcome.VERIFIED]
    assert scan.findings_of is not None, "it was not read again"


async def test_a_registry_that_does_not_tell_is_no_reason_to_fail(signed: Signed) -> None:
    signed.attach(OURS)
    await signed.trust()
    await signed.scan()
    signed.registry.misbehave("blobs", answering(403))
    scan, rows = await signed.scan()
    assert (scan.status, rows) == (ScanStatus.COMPLETE, [])
    assert "Whether the image has signed statements is not known" in await signed.told(scan)
