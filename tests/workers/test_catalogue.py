"""The catalogue beside a real registry: listed, listed again after a push and a deletion, with every authentication."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
import shutil
import socket
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from sqlalchemy import delete as sql_delete
from sqlalchemy import event, update
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.outgoing import OutgoingClient, OutgoingPolicy
from schema.images.models import Image, Manifest, Tag, TagDigest
from schema.images.repository import file_image, file_tag
from schema.jobs.models import Job, JobKind, JobState
from schema.jobs.repository import Lease, requeue_orphans
from schema.kernel.clock import utc_now
from schema.kernel.database import Database
from schema.kernel.tenancy import across_tenants
from schema.registries.models import Registry, RegistryProvider, RegistryStatus, RegistrySync, Schedule, SyncStatus
from schema.registries.repository import add_registry
from schema.registries.syncing import queue_sync
from schema.scans.models import Scan, ScanStatus
from tests.app.site import on_sqlite
from tests.distribution import HTPASSWD, PROGRAM, push, running
from tests.factories import images
from tests.factories.images import Index, index, layer, write_layout
from tests.processes import until
from tests.simulators.certificates import new_authority
from tests.simulators.registry import (
    Asked,
    Fault,
    RegistrySimulator,
    Stage,
    altered,
    answering,
    cut_short,
    endless,
    hanging,
    huge,
    listening,
    longer,
    redirecting,
    resolve_to_loopback,
    serving,
    shorter,
)
from tests.workers.workshop import Workshop, debian
from workers import catalogue
from workers.leases import LeaseLostError
from workers.oci.client import Patience
from workers.oci.listing import ListingLimits
from workers.reconciler import reconcile
from workers.runner import PERFORM, JobRunner
from workers.runtime import WorkerRuntime
from workers.workspace import Workspace

LOOPBACK = (ip_network("127.0.0.0/8"),)
ONE = images.image(layer({"one": b"1"}))
TWO = images.image(layer({"two": b"2"}))
MULTI = index(images.image(layer({"amd": b"64"})), images.image(layer({"arm": b"64"}), platform="linux/arm64"))

SKOPEO = shutil.which("skopeo")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed")


@dataclass
class Catalogued:
    """A workshop with a registry set up, and a client that may reach it."""

    workshop: Workshop
    http: OutgoingClient
    registry_id: str

    @property
    def organization_id(self) -> str:
        return self.workshop.principal.organization_id

    async def queue(self) -> str:
        async with self.workshop.database.write() as session:
            return await queue_sync(
                session, self.organization_id, self.registry_id, requested_by="user:u", now=utc_now()
            )

    async def sync(self) -> RegistrySync:
        """Queues a sync, works on it as its worker would, and returns how it ended."""
        sync_id = await self.queue()
        await self.work()
        return await self.row(sync_id)

    async def work(self) -> None:
        runtime = self.workshop.runtime(http=self.http)
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            runner = JobRunner(runtime, workspace)
            try:
                await runner.work_on(await self.workshop.lease())
            finally:
                await runner.close()

    async def row(self, sync_id: str) -> RegistrySync:
        rows: list[RegistrySync] = await self.workshop.rows(RegistrySync)
        return next(row for row in rows if row.id == sync_id)

    async def registry(self) -> Registry:
        return cast("Registry", (await self.workshop.rows(Registry))[0])

    async def change(self, **values: Any) -> None:
        async with self.workshop.database.write() as session:
            everybody = across_tenants(Registry, because="there is one")
            await session.execute(update(Registry).where(everybody).values(**values))

    async def tags(self) -> dict[str, Tag]:
        names = {image.id: image.name.partition("/")[2] for image in await self.workshop.rows(Image)}
        return {f"{names[tag.image_id]}:{tag.name}": tag for tag in await self.workshop.rows(Tag)}

    async def scanned(self) -> list[str]:
        return sorted(scan.reference.partition("/")[2] for scan in await self.workshop.rows(Scan))

    async def forget_scans(self) -> None:
        async with self.workshop.database.write() as session:
            await session.execute(sql_delete(Scan).where(across_tenants(Scan, because="all of them")))
            await session.execute(sql_delete(Job).where(across_tenants(Job, because="all of them")))


@contextmanager
def noting(database: Database) -> Iterator[list[str]]:
    """The statements that are executed meanwhile, without the looks for a cancellation, which come with time."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "SELECT jobs.cancel_requested")):
            statements.append(statement)

    for engine in database.engines:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in database.engines:
            event.remove(engine.sync_engine, "before_cursor_execute", note)


def continued(link: str) -> Fault:
    """A page of a list that is continued elsewhere."""
    return answering(200, b'{"repositories": ["a"]}', link=link)


def never_ending(_honest: Response) -> ASGIApp:
    """Every page names three repositories that nobody has heard of, and another page."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name = secrets.token_hex(4)
        page = JSONResponse(
            {"repositories": [f"{name}/{number}" for number in range(3)]},
            headers={"link": f'</v2/_catalog?last={name}>; rel="next"'},
        )
        await page(scope, receive, send)

    return app


def only_at(part: str, fault: Fault) -> Fault:
    """The fault where the path ends like this, else the honest answer."""

    def either(honest: Response) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            chosen = fault(honest) if scope["path"].endswith(part) else honest
            await chosen(scope, receive, send)

        return app

    return either


@asynccontextmanager
async def catalogued(
    workshop: Workshop,
    host: str,
    *,
    insecure: bool = True,
    user: tuple[str, str] | None = None,
    bundle: Path | None = None,
    provider: RegistryProvider = RegistryProvider.DOCKER_REGISTRY,
) -> AsyncIterator[Catalogued]:
    policy = OutgoingPolicy(allowed_networks=LOOPBACK, silence_seconds=5, extra_ca_bundle=bundle)
    async with workshop.database.write() as session:
        registry_id = await add_registry(
            session,
            workshop.principal.organization_id,
            name="registry",
            provider=provider,
            host=host,
            insecure=insecure,
            username=user[0] if user else None,
            password=user[1] if user else None,
            keys=workshop.services.keys,
            now=utc_now(),
        )
    async with OutgoingClient(policy, resolve=resolve_to_loopback) as http:
        yield Catalogued(workshop, http, registry_id)


def delete(http: httpx.Client, repository: str, content: images.Image | Index) -> None:
    http.delete(f"/v2/{repository}/manifests/{content.digest}").raise_for_status()


# A real registry


@needs_registry
async def test_what_is_pushed_and_deleted_is_followed(workshop: Workshop, tmp_path: Path) -> None:
    with running(tmp_path) as host, httpx.Client(base_url=f"http://{host}") as registry:
        async with catalogued(workshop, host) as shop:
            push(registry, "team/app", ONE, "1.0")
            push(registry, "team/app", TWO, "2.0")
            push(registry, "team/multi", MULTI, "latest")

            sync = await shop.sync()

            assert (sync.status, sync.message) == (SyncStatus.COMPLETE, None)
            assert (sync.repositories_found, sync.repositories_done) == (2, 2)
            assert (sync.tags_found, sync.tags_new, sync.tags_moved, sync.tags_gone) == (3, 3, 0, 0)
            tags = await shop.tags()
            assert {name: tag.source_digest for name, tag in tags.items()} == {
                "team/app:1.0": ONE.digest,
                "team/app:2.0": TWO.digest,
                "team/multi:latest": MULTI.digest,
            }
            assert {(row.index_digest, row.digest, row.platform) for row in await workshop.rows(Manifest)} == {
                (MULTI.digest, MULTI.members[0].digest, "linux/amd64"),
                (MULTI.digest, MULTI.members[1].digest, "linux/arm64"),
            }
            assert {image.tag_count for image in await workshop.rows(Image)} == {1, 2}
            assert {image.registry_id for image in await workshop.rows(Image)} == {shop.registry_id}
            known = await shop.registry()
            assert (known.status, known.health) == (RegistryStatus.CONNECTED, 100)
            assert known.last_sync_at is not None
            assert await shop.scanned() == [], "nobody asked for scans"

            push(registry, "team/app", TWO, "1.0")
            push(registry, "team/new", ONE, "a")
            delete(registry, "team/multi", MULTI)
            sync = await shop.sync()

            assert (sync.status, sync.tags_new, sync.tags_moved, sync.tags_gone) == (SyncStatus.COMPLETE, 1, 1, 1)
            tags = await shop.tags()
            assert tags["team/app:1.0"].source_digest == TWO.digest
            assert tags["team/multi:latest"].absent_since is not None
            moved = tags["team/app:1.0"].id
            history = [row for row in await workshop.rows(TagDigest) if row.tag_id == moved]
            assert {row.digest: row.until is None for row in history} == {ONE.digest: False, TWO.digest: True}

            push(registry, "team/multi", MULTI, "latest")
            sync = await shop.sync()

            assert (sync.tags_new, sync.tags_moved, sync.tags_gone) == (0, 0, 0)
            assert (await shop.tags())["team/multi:latest"].absent_since is None


@needs_registry
@on_sqlite
@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")
async def test_what_skopeo_pushes_is_listed_scanned_and_scanned_again_after_a_push(
    workshop: Workshop, tmp_path: Path
) -> None:
    def copy(content: images.Image, tag: str) -> None:
        layout = write_layout(tmp_path / content.digest[7:19], content)
        target = f"docker://{host}/team/app:{tag}"
        subprocess.run([str(SKOPEO), "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", target], check=True)

    async def everything() -> list[tuple[str, str | None]]:
        """Works on all there is to do. Returns the scans, in the order they were asked for."""
        while any(job.state is JobState.QUEUED for job in await workshop.rows(Job)):
            await shop.work()
        scans = sorted(await workshop.rows(Scan), key=lambda scan: scan.created_at)
        assert {scan.status for scan in scans} <= {ScanStatus.COMPLETE}
        return [(scan.reference.partition("/")[2], scan.digest) for scan in scans]

    with running(tmp_path) as host:
        async with catalogued(workshop, host) as shop:
            await shop.change(schedule=Schedule.ON_PUSH, scanners=["syft"])
            first, second = debian(), debian({"openssl": "3.0.9-1"})
            copy(first, "1.0")
            await shop.queue()
            assert await everything() == [("team/app:1.0", first.digest)]

            await shop.queue()
            assert len(await everything()) == 1, "nothing was pushed"

            copy(second, "1.0")
            await shop.queue()
            assert (await everything())[1:] == [("team/app:1.0", second.digest)]


@needs_registry
@on_sqlite
async def test_basic_authentication(workshop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "registry", "path": str(users)}}
    with running(tmp_path, auth=auth) as host:
        with httpx.Client(base_url=f"http://{host}", auth=("robot", "s3cret")) as registry:
            push(registry, "team/app", ONE, "1.0")
        async with catalogued(workshop, host, user=("robot", "s3cret")) as shop:
            sync = await shop.sync()
            assert (sync.status, sync.tags_new) == (SyncStatus.COMPLETE, 1)

            await shop.change(username="robot-of-nobody")
            sync = await shop.sync()

            assert sync.status is SyncStatus.FAILED
            assert sync.message is not None
            assert "credentials are wrong" in sync.message
            registry_row = await shop.registry()
            assert (registry_row.status, registry_row.health) == (RegistryStatus.ERROR, 50)
            assert registry_row.status_message == sync.message
            everything = [str(row) for table in (RegistrySync, Job, Registry) for row in await workshop.rows(table)]
            assert "s3cret" not in "".join(everything) + caplog.text
            assert [tag.absent_since for tag in (await shop.tags()).values()] == [None], "nothing was found missing"


@dataclass
class TokenService:
    """Signs tokens that a registry believes (distribution, docs/spec/auth/jwt.md)."""

    directory: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        authority = new_authority(self.directory)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(authority.certificate.not_valid_before_utc)
            .not_valid_after(authority.certificate.not_valid_after_utc)
            .sign(authority.key, hashes.SHA256())
        )
        self.bundle = authority.bundle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        expected = base64.b64encode(b"robot:s3cret").decode()
        answer: Response
        if request.headers.get("authorization") != f"Basic {expected}":
            answer = JSONResponse({}, 401)
        else:
            self.asked.append(request.query_params["scope"])
            answer = JSONResponse({"token": self.sign(request.query_params["scope"])})
        await answer(scope, receive, send)

    def sign(self, scope: str) -> str:
        kind, name, actions = scope.split(":")
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {
            "iss": "tokens",
            "sub": "robot",
            "aud": "registry",
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
        signature = self.key.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
        return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


@contextmanager
def token_service(directory: Path) -> Iterator[tuple[TokenService, str]]:
    service = TokenService(directory)
    listener = socket.create_server(("127.0.0.1", 0))
    with listening(service, listener):
        yield service, f"http://127.0.0.1:{listener.getsockname()[1]}/token"


@needs_registry
@on_sqlite
async def test_token_authentication(workshop: Workshop, tmp_path: Path) -> None:
    with token_service(tmp_path) as (service, realm):
        auth = {
            "token": {"realm": realm, "service": "registry", "issuer": "tokens", "rootcertbundle": str(service.bundle)}
        }
        with running(tmp_path, auth=auth) as host:
            token = service.sign("repository:team/app:pull,push")
            with httpx.Client(base_url=f"http://{host}", headers={"authorization": f"Bearer {token}"}) as registry:
                push(registry, "team/app", ONE, "1.0")
            async with catalogued(workshop, host, user=("robot", "s3cret")) as shop:
                sync = await shop.sync()
    assert (sync.status, sync.message, sync.tags_new) == (SyncStatus.COMPLETE, None, 1)
    assert service.asked == ["registry:catalog:*", "repository:team/app:pull"], "one token for each, not wider"


@needs_registry
@on_sqlite
async def test_tls_with_an_authority_that_is_given(workshop: Workshop, tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    with running(tmp_path, certificate=authority.issue("registry.localhost")) as address:
        host = f"registry.localhost:{address.rpartition(':')[2]}"
        with httpx.Client(base_url=f"https://{address}", verify=False) as registry:  # noqa: S501 -- it is ours
            push(registry, "team/app", ONE, "1.0")
        async with catalogued(workshop, host, insecure=False, bundle=authority.bundle) as shop:
            sync = await shop.sync()
            assert (sync.status, sync.tags_new) == (SyncStatus.COMPLETE, 1)
            async with OutgoingClient(OutgoingPolicy(allowed_networks=LOOPBACK), resolve=resolve_to_loopback) as http:
                shop.http = http
                sync = await shop.sync()
    assert sync.status is SyncStatus.FAILED
    assert sync.message is not None
    assert "HARBORGUARD_OUTGOING_CA_BUNDLE" in sync.message


# A registry that does as it is told


HASTY = Patience(answer_seconds=2, attempts=2, first_pause_seconds=0.01, longest_pause_seconds=0.02)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture
def registry(stage: Stage) -> RegistrySimulator:
    registry = stage.new_registry()
    registry.page = 2
    for name in ("a", "b", "c"):
        registry.add(f"team/{name}", ONE, "1.0", "latest")
    return registry


@pytest.fixture
async def shop(
    workshop: Workshop, registry: RegistrySimulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Catalogued]:
    async def hasty(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
        await catalogue.sync(lease, runtime, patience=HASTY, limits=LIMITS)

    monkeypatch.setitem(PERFORM, JobKind.SYNC, hasty)
    async with catalogued(workshop, registry.host) as shop:
        yield shop


LIMITS = ListingLimits(repositories=50, tags=20_000, pages=2_000)


def digests(tags: dict[str, Tag]) -> dict[str, str | None]:
    return {name: tag.source_digest for name, tag in tags.items()}


async def test_what_has_not_changed_is_never_written(shop: Catalogued, registry: RegistrySimulator) -> None:
    await shop.sync()
    before = [
        row.model_dump() for table in (Image, Tag, TagDigest, Manifest) for row in await shop.workshop.rows(table)
    ]

    with noting(shop.workshop.database) as statements:
        sync = await shop.sync()

    assert (sync.status, sync.tags_found, sync.tags_new, sync.tags_moved) == (SyncStatus.COMPLETE, 6, 0, 0)
    after = [row.model_dump() for table in (Image, Tag, TagDigest, Manifest) for row in await shop.workshop.rows(table)]
    assert before == after
    written = [
        each for each in statements if re.match(r"(INSERT|UPDATE)[^(]*\b(images|tags|tag_digests|manifests)\b", each)
    ]
    assert written == []
    assert len(registry.asked("manifests")) == 2 * 6, "a tag is asked by HEAD and costs no more"


async def test_filters_say_which_tags_are_filed(shop: Catalogued, registry: RegistrySimulator) -> None:
    registry.add("team/a", TWO, "2.0-rc1", "nightly")
    await shop.change(tag_include="*.*, latest", tag_exclude="*-rc*")

    await shop.sync()

    names = {name for name in await shop.tags() if name.startswith("team/a:")}
    assert names == {"team/a:1.0", "team/a:latest"}

    await shop.change(tag_include="nightly", tag_exclude="")
    registry.add("team/a", TWO, "1.0")
    sync = await shop.sync()

    tags = await shop.tags()
    assert (sync.tags_new, sync.tags_moved, sync.tags_gone) == (1, 0, 0)
    assert tags["team/a:1.0"].source_digest == ONE.digest, "not looked at any more, and not missed either"
    assert tags["team/a:1.0"].absent_since is None


async def test_a_repository_that_is_gone_and_comes_back(shop: Catalogued, registry: RegistrySimulator) -> None:
    await shop.sync()
    registry.remove("team/b")

    sync = await shop.sync()

    gone = {image.name.partition("/")[2]: image.absent_since for image in await shop.workshop.rows(Image)}
    assert {name for name, since in gone.items() if since is not None} == {"team/b"}
    assert sync.tags_gone == 2
    assert {name for name, tag in (await shop.tags()).items() if tag.absent_since} == {"team/b:1.0", "team/b:latest"}

    registry.add("team/b", ONE, "1.0")
    await shop.sync()

    assert [image.absent_since for image in await shop.workshop.rows(Image)] == [None, None, None]
    assert {name for name, tag in (await shop.tags()).items() if tag.absent_since} == {"team/b:latest"}


async def test_an_image_beside_the_catalogue_is_not_missed(shop: Catalogued, registry: RegistrySimulator) -> None:
    async with shop.workshop.database.write() as session:
        name = f"{registry.host}/other/image"
        image_id = await file_image(session, shop.organization_id, name, registry_id=shop.registry_id, now=utc_now())
        await file_tag(session, shop.organization_id, image_id, "1", now=utc_now())

    await shop.sync()

    assert {image.absent_since for image in await shop.workshop.rows(Image)} == {None}
    assert {tag.absent_since for tag in (await shop.tags()).values()} == {None}


async def test_on_push_new_and_moved_tags_are_scanned(shop: Catalogued, registry: RegistrySimulator) -> None:
    await shop.change(schedule=Schedule.ON_PUSH, scanners=["syft"])

    await shop.sync()

    assert await shop.scanned() == sorted(f"team/{name}:{tag}" for name in "abc" for tag in ("1.0", "latest"))
    assert {scan.requested_by for scan in await shop.workshop.rows(Scan)} == {"system:push"}
    assert {tuple(scan.scanners) for scan in await shop.workshop.rows(Scan)} == {("syft",)}

    await shop.forget_scans()
    registry.add("team/a", TWO, "latest", "3.0")
    await shop.sync()

    assert await shop.scanned() == ["team/a:3.0", "team/a:latest"]


async def test_a_worker_that_is_killed_leaves_whole_batches_and_the_next_goes_on(
    shop: Catalogued, registry: RegistrySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after kill -9: nothing is handed back, the lease runs out, and the reconciler queues the job again."""
    monkeypatch.setattr(catalogue, "_TELL_SECONDS", -1.0)
    sync_id = await shop.queue()
    lease = await shop.workshop.lease("killed")
    registry.misbehave("tags", lambda honest: honest, times=1)
    registry.misbehave("tags", hanging)
    working = asyncio.create_task(catalogue.sync(lease, shop.workshop.runtime(http=shop.http), patience=HASTY))

    async def has_hung() -> bool:
        return len(registry.asked("team/b/tags/list")) > 0

    await until(has_hung)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert (await shop.row(sync_id)).position == "team/a"
    async with shop.workshop.database.write() as session:
        await requeue_orphans(session, now=utc_now() + timedelta(days=1))
    registry.heal()
    asked = len(registry.asked("team/a/tags/list"))

    await shop.work()

    sync = await shop.row(sync_id)
    assert (sync.status, sync.repositories_done, sync.tags_found, sync.tags_new) == (SyncStatus.COMPLETE, 3, 6, 6)
    assert len(registry.asked("team/a/tags/list")) == asked, "what was done is not done again"
    assert len(await shop.tags()) == 6
    with pytest.raises(LeaseLostError):
        await catalogue.sync(lease, shop.workshop.runtime(http=shop.http), patience=HASTY)
    assert (await shop.row(sync_id)).status is SyncStatus.COMPLETE


async def test_t63_a_sync_whose_workers_all_died_fails_with_a_sentence(shop: Catalogued) -> None:
    sync_id = await shop.queue()
    await shop.workshop.lease("killed")
    await shop.workshop.change_job(sync_id, attempt=3, lease_expires_at=utc_now() - timedelta(days=1))
    async with shop.workshop.runner() as runner:
        await reconcile(shop.workshop.runtime(), runner)
        await runner.idle()

    sync = await shop.row(sync_id)
    assert (sync.status, (await shop.registry()).status) == (SyncStatus.FAILED, RegistryStatus.ERROR)
    assert sync.message is not None
    assert "worker died" in sync.message


async def test_a_registry_that_was_removed_meanwhile_ends_the_job(shop: Catalogued) -> None:
    sync_id = await shop.queue()
    async with shop.workshop.database.write() as session:
        await session.execute(sql_delete(Registry).where(across_tenants(Registry, because="there is one")))
    await shop.work()
    assert (await shop.workshop.job(sync_id)).state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("asked", "fault", "saying"),
    [
        ("catalog", answering(503, retry_after="1"), "status 503"),
        ("catalog", answering(429, retry_after="9999"), "limits how often"),
        ("catalog", answering(404), "does not list its repositories"),
        ("catalog", answering(401), "private and needs credentials"),
        ("catalog", answering(200, b"<html>"), "not JSON"),
        ("catalog", answering(200, b'{"repositories": {}}'), "without its repositories"),
        ("catalog", redirecting("http://10.0.0.1/"), "not fetched"),
        ("catalog", endless, "not fetched"),
        ("catalog", huge, "not fetched"),
        ("catalog", cut_short, "not fetched"),
        ("catalog", hanging, "took too long"),
        ("catalog", continued("<http://elsewhere.test/v2/_catalog?last=a>; rel=next"), "another host"),
        ("catalog", answering(200, b'{"repositories": ["a"]}', link="</v2/_catalog?last=a>; rel=next"), "circles"),
        ("tags", answering(500), "status 500"),
        ("tags", endless, "not fetched"),
        ("tags", answering(403), "private and needs credentials"),
    ],
)
@on_sqlite
async def test_t105_a_registry_that_misbehaves_fails_the_sync_and_changes_nothing(
    shop: Catalogued, registry: RegistrySimulator, asked: Asked, fault: Fault, saying: str
) -> None:
    await shop.sync()
    before = await shop.tags()
    registry.misbehave(asked, fault)

    sync = await shop.sync()

    assert sync.status is SyncStatus.FAILED
    assert sync.message is not None
    assert saying in sync.message, sync.message
    assert await shop.tags() == before
    state = await shop.registry()
    assert (state.status, state.status_message, state.health) == (RegistryStatus.ERROR, sync.message, 50)
    registry.heal()
    sync = await shop.sync()
    assert (sync.status, (await shop.registry()).health) == (SyncStatus.COMPLETE, 67)


@pytest.mark.parametrize(
    "fault",
    [answering(500), answering(404), answering(403), altered, shorter, longer, huge, endless],
    ids=["500", "404", "403", "altered", "shorter", "longer", "huge", "endless"],
)
@on_sqlite
async def test_t105_a_tag_that_cannot_be_resolved_is_left_out_and_not_missed(
    shop: Catalogued, registry: RegistrySimulator, fault: Fault
) -> None:
    """Of an index that is not what its digest says nothing is believed."""
    registry.remove("team/b")
    registry.remove("team/c")
    await shop.sync()
    registry.add("team/a", MULTI, "latest")
    registry.misbehave("manifests", only_at(f"/manifests/{MULTI.digest}", fault))

    sync = await shop.sync()

    assert (sync.status, sync.tags_moved, sync.tags_gone) == (SyncStatus.COMPLETE, 0, 0)
    assert sync.message is not None
    assert sync.message.startswith("1 could not be looked at")
    tags = await shop.tags()
    assert digests(tags) == {"team/a:1.0": ONE.digest, "team/a:latest": ONE.digest}
    assert await shop.workshop.rows(Manifest) == []
    assert (await shop.registry()).status is RegistryStatus.CONNECTED


@on_sqlite
async def test_a_digest_that_is_none_is_computed(shop: Catalogued, registry: RegistrySimulator) -> None:
    registry.announces_digest = False
    await shop.sync()
    assert set(digests(await shop.tags()).values()) == {ONE.digest}


@on_sqlite
async def test_endless_pages_are_read_to_the_bound_and_nothing_is_missed(
    shop: Catalogued, registry: RegistrySimulator
) -> None:
    await shop.sync()
    registry.misbehave("catalog", never_ending)

    sync = await shop.sync()

    assert sync.status is SyncStatus.COMPLETE
    assert sync.message is not None
    assert "more repositories than 50" in sync.message
    assert sync.tags_gone == 0
    assert {image.absent_since for image in await shop.workshop.rows(Image)} == {None}
    assert len(registry.asked("_catalog")) < 100


async def test_t105_ten_thousand_tags_take_few_statements_and_little_memory(
    shop: Catalogued, registry: RegistrySimulator
) -> None:
    registry.page = 1000
    registry.remove("team/b")
    registry.remove("team/c")
    for number in range(10_000):
        registry.put_manifest("team/a", f"v{number}", ONE.manifest, media_type=ONE.media_type)

    with noting(shop.workshop.database) as first:
        sync = await shop.sync()
    assert (sync.tags_new, len(await shop.tags())) == (10_002, 10_002)
    tracemalloc.start()
    with noting(shop.workshop.database) as second:
        sync = await shop.sync()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (sync.status, sync.tags_found, sync.tags_new) == (SyncStatus.COMPLETE, 10_002, 0)
    assert len(first) < 21 * 20 + 60, "by batches of 500, not by tags"
    assert len(second) < 21 * 4 + 60
    assert peak < 64 * 1024**2
    assert (await shop.workshop.rows(Image))[0].tag_count == 10_002
