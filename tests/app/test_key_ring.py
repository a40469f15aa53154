"""Keys of several kinds at once, and changing them while secrets are in use."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from sqlalchemy import select, update
from sqlmodel import col
from structlog.testing import capture_logs

from app import administration
from app.key_ring import KeyRing, open_keys
from app.key_services import KmsAccess, KmsKeyProvider, VaultAccess, VaultKeyProvider
from app.keys import FileKeyProvider, MasterKeyError
from app.settings import Settings
from schema.kernel.clock import utc_now
from schema.kernel.columns import TenantTable
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.idempotency import IdempotencyKey, recall, remember
from schema.kernel.ports import KeyProvider
from schema.kernel.principal import system_principal
from schema.kernel.sealed import count_sealed, rewrap_batch
from schema.kernel.secrets import TokenMint, rewrap, seal, seal_context, unseal
from schema.organizations.models import Plan
from schema.organizations.repository import create_organization
from schema.registries.models import Registry, RegistryProvider
from schema.registries.repository import add_registry, open_registry
from schema.sealed import SEALED_COLUMNS
from tests.simulators.key_services import ACCESS_KEY, SECRET_KEY, TOKEN, KeyServices, serving_keys
from tests.simulators.registry import Fault, answering, cut_short, dripping, hanging

NOW = datetime(2026, 4, 26, tzinfo=UTC)
PASSWORDS = SEALED_COLUMNS[0]
MANY = 1_200


def file_key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


OLD = FileKeyProvider(Path("unused"), file_key("o"))
NEW = FileKeyProvider(Path("unused"), file_key("n"))


@pytest.fixture
def services() -> Iterator[KeyServices]:
    with serving_keys() as started:
        yield started


@pytest.fixture(params=["vault", "aws-kms"])
async def provider(request: pytest.FixtureRequest, services: KeyServices) -> AsyncIterator[KeyProvider]:
    async with httpx.AsyncClient() as client:
        yield vault(services, client) if request.param == "vault" else kms(services, client)


def vault(
    services: KeyServices, client: httpx.AsyncClient, token: str = TOKEN, *, seconds: float = 5
) -> VaultKeyProvider:
    access = VaultAccess(url=services.url, mount="transit", key="harborguard", token=token)
    return VaultKeyProvider(access, client, seconds=seconds)


def kms(
    services: KeyServices, client: httpx.AsyncClient, secret: str = SECRET_KEY, *, seconds: float = 5
) -> KmsKeyProvider:
    access = KmsAccess(
        key="alias/harborguard",
        region="eu-central-1",
        access_key_id=ACCESS_KEY,
        secret_access_key=secret,
        endpoint=services.url,
    )
    return KmsKeyProvider(access, client, clock=utc_now, seconds=seconds)


async def test_a_service_wraps_and_unwraps(provider: KeyProvider, services: KeyServices) -> None:
    sealed = await seal(provider, "registry password", context=b"org-1|registries|reg-1")
    assert sealed["keyId"] == provider.key_id
    assert await unseal(provider, sealed, context=b"org-1|registries|reg-1") == "registry password"
    assert "registry password" not in repr(services.requests)
    assert base64.b64encode(b"registry password").decode() not in repr(services.requests)


async def test_t60_a_service_unwraps_for_the_same_place_only(provider: KeyProvider) -> None:
    sealed = await seal(provider, "registry password", context=b"org-1|registries|reg-1")
    for context in (b"org-2|registries|reg-1", b"org-1|registries|reg-2"):
        with pytest.raises(ValueError, match="does not belong here"):
            await unseal(provider, sealed, context=context)
    broken = {**sealed, "key": base64.b64encode(b"vault:v1:AAAA").decode()}
    with pytest.raises(ValueError, match="does not belong here"):
        await unseal(provider, broken, context=b"org-1|registries|reg-1")
    with pytest.raises(ValueError, match="another:key"):
        await unseal(provider, {**sealed, "keyId": "another:key"}, context=b"org-1|registries|reg-1")


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_service_that_refuses_is_no_defect_and_says_nothing(
    provider: KeyProvider, services: KeyServices, status: int
) -> None:
    sealed = await seal(provider, "registry password", context=b"here")
    services.fail = status
    for work in (seal(provider, "x", context=b"here"), unseal(provider, sealed, context=b"here")):
        with pytest.raises(HarborGuardError) as failed:
            await work
        assert failed.value.code is ErrorCode.SERVICE_UNAVAILABLE
        assert failed.value.message == "The key service does not answer; try again in a moment"


@pytest.mark.parametrize(
    "fault",
    [
        hanging,
        dripping,
        cut_short,
        answering(200, b"<html>signed in</html>"),
        answering(200, b'"a text"'),
        answering(200, b"{}"),
        answering(200, b'{"data": null, "Plaintext": 7}'),
        answering(302, b"{}", location="https://elsewhere.example/"),
        answering(204),
        answering(404, b'{"errors": []}'),
    ],
)
async def test_a_service_that_answers_nonsense_or_never_is_given_up(services: KeyServices, fault: Fault) -> None:
    async with httpx.AsyncClient() as client:
        for provider in (vault(services, client, seconds=0.3), kms(services, client, seconds=0.3)):
            sealed = await seal(provider, "registry password", context=b"here")
            services.misbehave(fault, times=4)
            with pytest.raises(HarborGuardError, match="does not answer") as failed:
                await unseal(provider, sealed, context=b"here")
            assert failed.value.code is ErrorCode.SERVICE_UNAVAILABLE
            services.forgive()
            assert await unseal(provider, sealed, context=b"here") == "registry password"


async def test_one_slip_of_a_service_is_forgiven(provider: KeyProvider, services: KeyServices) -> None:
    for slip in (answering(503, b"{}"), cut_short):
        services.misbehave(slip, times=1)
        sealed = await seal(provider, "registry password", context=b"here")
        services.misbehave(slip, times=1)
        assert await unseal(provider, sealed, context=b"here") == "registry password"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (base64.b64encode(b"x" * 32).decode(), ValueError),  # a key, but another one
        (base64.b64encode(b"short").decode(), HarborGuardError),
        ("not base64", HarborGuardError),
        ("", HarborGuardError),
        (None, HarborGuardError),
    ],
)
async def test_a_wrong_answer_opens_nothing_and_is_not_wrapped_anew(
    provider: KeyProvider, services: KeyServices, answer: str | None, expected: type[Exception]
) -> None:
    sealed = await seal(provider, "registry password", context=b"here")
    services.changes["plaintext"] = answer
    for work in (unseal(provider, sealed, context=b"here"), rewrap(KeyRing(NEW, [provider]), sealed, context=b"here")):
        with pytest.raises(expected) as failed:
            await work
        assert "registry password" not in str(failed.value)


async def test_t61_what_a_service_wraps_and_does_not_give_back_replaces_nothing(
    provider: KeyProvider, services: KeyServices
) -> None:
    sealed = await seal(OLD, "registry password", context=b"here")
    other = await provider.wrap(b"y" * 32, context=b"here")
    text = other.decode() if other.startswith(b"vault:") else base64.b64encode(other).decode()
    services.changes["ciphertext"] = text
    with pytest.raises(ValueError, match="does not give back what it wrapped"):
        await rewrap(KeyRing(provider, [OLD]), sealed, context=b"here")


async def test_a_token_file_that_is_gone_is_named_to_the_operator_only(services: KeyServices, tmp_path: Path) -> None:
    access = VaultAccess(url=services.url, mount="transit", key="harborguard", token_file=tmp_path / "gone")
    async with httpx.AsyncClient() as client:
        with pytest.raises(HarborGuardError, match="does not answer") as failed, capture_logs() as logs:
            await seal(VaultKeyProvider(access, client), "x", context=b"here")
    assert "gone" not in failed.value.message
    assert [line["problem"] for line in logs] == ["the token file: No such file or directory"]


async def test_a_service_that_is_not_there(services: KeyServices) -> None:
    async with httpx.AsyncClient() as client:
        nowhere = KeyServices(url="http://127.0.0.1:1")
        for provider in (vault(nowhere, client), kms(nowhere, client)):
            with pytest.raises(HarborGuardError, match="does not answer"):
                await seal(provider, "x", context=b"here")
        for refused in (vault(services, client, "wrong"), kms(services, client, "wrong" * 8)):
            with pytest.raises(HarborGuardError, match="does not answer"):
                await seal(refused, "x", context=b"here")


async def test_a_version_of_vaults_own_needs_nothing_of_us(services: KeyServices) -> None:
    async with httpx.AsyncClient() as client:
        provider = vault(services, client)
        sealed = await seal(provider, "registry password", context=b"here")
        services.turn("harborguard")
        assert await unseal(provider, sealed, context=b"here") == "registry password"


async def test_a_ring_wraps_with_the_first_and_unwraps_with_all() -> None:
    sealed = await seal(OLD, "registry password", context=b"here")
    ring = KeyRing(NEW, [OLD])
    assert ring.key_id == NEW.key_id
    assert await unseal(ring, sealed, context=b"here") == "registry password"
    again = await seal(ring, "registry password", context=b"here")
    assert await unseal(NEW, again, context=b"here") == "registry password"
    with pytest.raises(ValueError, match=OLD.key_id):
        await unseal(KeyRing(NEW), sealed, context=b"here")


async def test_the_settings_make_the_ring(tmp_path: Path, services: KeyServices) -> None:
    def settings(**given: Any) -> Settings:
        return Settings(data_dir=tmp_path, master_key=file_key("m"), **given)

    master = FileKeyProvider(tmp_path, file_key("m"))
    async with open_keys(settings()) as keys:
        assert keys.key_id == master.key_id
    async with open_keys(settings(wrapping_keys=f"{file_key('n')}, {file_key('o')}")) as keys:
        assert keys.key_id == NEW.key_id
        for older in (OLD, master):
            assert await unseal(keys, await seal(older, "secret", context=b"here"), context=b"here") == "secret"
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    told = settings(key_provider="vault,file", key_vault_url=services.url, key_vault_token_file=token)
    async with open_keys(told) as keys:
        assert keys.key_id == "vault:transit/harborguard"
        assert await unseal(keys, await seal(keys, "secret", context=b"here"), context=b"here") == "secret"
        assert await unseal(keys, await seal(master, "secret", context=b"here"), context=b"here") == "secret"
    for missing in ("vault", "aws-kms"):
        with pytest.raises(MasterKeyError, match="HARBORGUARD_KEY_"):
            async with open_keys(settings(key_provider=missing)):
                pass


async def furnish(database: Database, keys: KeyProvider, *, count: int) -> tuple[str, list[str]]:
    async with database.write() as session:
        organization_id = await create_organization(session, name="Acme", plan=Plan.ENTERPRISE, now=NOW)
        ids = [
            await add_registry(
                session,
                organization_id,
                name=f"registry {number}",
                provider=RegistryProvider.CUSTOM,
                host="registry.example.com",
                insecure=False,
                username="robot",
                password=f"secret {number}",
                keys=keys,
                now=NOW,
            )
            for number in range(count)
        ]
    return organization_id, ids


async def rotate(database: Database, keys: KeyProvider, *, batches: int | None = None) -> int:
    done, after = 0, None
    while batches is None or batches > 0:
        outcome = await rewrap_batch(database, PASSWORDS, keys, after=after, size=100)
        assert outcome.damaged == ()
        done, after = done + outcome.done, outcome.last
        batches = None if batches is None else batches - 1
        if after is None:
            break
    return done


async def test_t60_a_secret_moved_to_another_row_or_organization_does_not_open(database: Database) -> None:
    ours, (first, second) = await furnish(database, OLD, count=2)
    theirs, (third,) = await furnish(database, OLD, count=1)
    async with database.write() as session:
        stolen = select(col(Registry.sealed_password)).where(col(Registry.id) == first)
        sealed = (await session.execute(stolen)).scalar_one()
        await session.execute(
            update(Registry).where(col(Registry.id).in_([second, third])).values(sealed_password=sealed)
        )
    async with database.read() as session:
        assert (await open_registry(session, ours, first, OLD)).password == "secret 0"
        for organization_id, registry_id in ((ours, second), (theirs, third)):
            with pytest.raises(ValueError, match="does not belong here"):
                await open_registry(session, organization_id, registry_id, OLD)
    outcome = await rewrap_batch(database, PASSWORDS, KeyRing(NEW, [OLD]), after=None, size=10)
    assert (outcome.done, len(outcome.damaged)) == (1, 2), "nor does changing keys launder it"


@pytest.mark.parametrize("kind", ["file", "vault", "aws-kms"])
async def test_t60_every_part_of_a_place_is_bound_whoever_wraps(services: KeyServices, kind: str) -> None:
    parts = {"organization_id": "org-1", "table": "registries", "column": "sealed_password", "row_id": "reg-1"}
    others = {
        "organization_id": "org-2",
        "table": "channels",
        "column": "sealed_webhook_secret",
        "row_id": "reg-2",
    }
    async with httpx.AsyncClient() as client:
        providers: dict[str, KeyProvider] = {
            "file": OLD,
            "vault": vault(services, client),
            "aws-kms": kms(services, client),
        }
        keys = providers[kind]
        sealed = await seal(keys, "secret", context=seal_context(**parts))
        assert await unseal(keys, sealed, context=seal_context(**parts)) == "secret"
        for name, other in others.items():
            with pytest.raises(ValueError, match="does not belong here"):
                await unseal(keys, sealed, context=seal_context(**parts | {name: other}))
        # Neither does the ciphertext of one under the data key of another, though both are of this place.
        second = await seal(keys, "another", context=seal_context(**parts))
        with pytest.raises(ValueError, match="does not belong here"):
            await unseal(keys, sealed | {"key": second["key"]}, context=seal_context(**parts))


async def test_t60_a_secret_moved_to_another_column_does_not_open(database: Database) -> None:
    organization_id, (registry_id,) = await furnish(database, OLD, count=1)
    moved = select(col(Registry.sealed_password)).where(col(Registry.id) == registry_id)
    async with database.write() as session:
        sealed = (await session.execute(moved)).scalar_one()
        assert sealed is not None
        change = update(Registry).where(col(Registry.id) == registry_id).values(sealed_webhook_secret=sealed)
        await session.execute(change)
    with pytest.raises(ValueError, match="does not belong here"):
        await unseal(OLD, sealed, context=SEALED_COLUMNS[1].place(organization_id, [registry_id]))
    outcome = await rewrap_batch(database, SEALED_COLUMNS[1], KeyRing(NEW, [OLD]), after=None, size=10)
    assert (outcome.done, len(outcome.damaged)) == (0, 1)


async def test_t61_keys_of_many_secrets_are_changed_online_and_the_old_one_removed(database: Database) -> None:
    organization_id, ids = await furnish(database, OLD, count=MANY)
    ring = KeyRing(NEW, [OLD])
    assert await rotate(database, ring, batches=3) == 300  # and then the machine is switched off
    async with database.read() as session:
        assert await count_sealed(session, PASSWORDS, but=NEW.key_id) == MANY - 300
        for registry_id in (ids[0], ids[-1]):  # in use all the time, under either key
            assert (await open_registry(session, organization_id, registry_id, ring)).username == "robot"
    assert await rotate(database, ring) == MANY - 300
    assert await rotate(database, ring) == 0
    async with database.read() as session:
        assert await count_sealed(session, PASSWORDS, but=NEW.key_id) == 0
        opened = [await open_registry(session, organization_id, each, KeyRing(NEW)) for each in ids]
    assert [access.password for access in opened] == [f"secret {number}" for number in range(MANY)]


async def test_t61_a_secret_that_is_changed_meanwhile_stays_changed(database: Database) -> None:
    organization_id, (registry_id,) = await furnish(database, OLD, count=1)

    class Slow(KeyRing):
        """Somebody enters another password between reading and writing."""

        async def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
            sealed = await seal(OLD, "changed", context=PASSWORDS.place(organization_id, [registry_id]))
            async with database.write() as session:
                await session.execute(
                    update(Registry).where(col(Registry.id) == registry_id).values(sealed_password=sealed)
                )
            return await super().wrap(data_key, context=context)

    await rewrap_batch(database, PASSWORDS, Slow(NEW, [OLD]), after=None, size=10)
    async with database.read() as session:
        assert (await open_registry(session, organization_id, registry_id, OLD)).password == "changed"


async def test_kept_answers_are_wrapped_anew_as_well(database: Database) -> None:
    organization_id, _ = await furnish(database, OLD, count=0)
    caller = system_principal(organization_id, "schedule")
    key = IdempotencyKey.of("build-4711", "createApiKey", {}, mint=TokenMint(b"p" * 32))
    async with database.write() as session:
        await remember(session, key, caller, {"secret": "hg_ak_"}, keys=OLD, now=NOW)
    outcome = await rewrap_batch(database, SEALED_COLUMNS[2], KeyRing(NEW, [OLD]), after=None, size=10)
    assert (outcome.done, outcome.damaged) == (1, ())
    async with database.write() as session:
        assert await recall(session, key, caller, keys=NEW, now=NOW) == {"secret": "hg_ak_"}


def test_no_column_of_sealed_secrets_is_forgotten() -> None:
    """They are all called that, but for the kept answers."""

    def columns(base: type[TenantTable]) -> Iterator[tuple[str, str]]:
        for table in base.__subclasses__():
            yield from ((str(table.__tablename__), name) for name in table.model_fields if name.startswith("sealed_"))
            yield from columns(table)

    known = {(str(place.table.__tablename__), place.column) for place in SEALED_COLUMNS}
    assert known == {*columns(TenantTable), ("idempotent_answers", "data")}


async def test_the_command_changes_keys_and_says_what_is_left(tmp_path: Path) -> None:
    def settings(**given: Any) -> Settings:
        return Settings(data_dir=tmp_path, master_key=file_key("m"), **given)

    async def rotated(*, every: bool = False, **given: Any) -> tuple[bool, str]:
        out = io.StringIO()
        quiet = Console(file=io.StringIO())
        done = await administration.rotate_keys(
            settings(**given), every=every, batch=2, console=quiet, out=Console(file=out, width=200)
        )
        return done, out.getvalue()

    async with administration.services_of(settings()) as services:
        organization_id, ids = await furnish(services.database, services.keys, count=5)
    done, said = await rotated(wrapping_keys=file_key("n"))
    assert done
    assert said.startswith(f"5 keys wrapped with {NEW.key_id}\nNo secret needs another key")
    assert (await rotated(wrapping_keys=file_key("n")))[1].startswith("0 keys")
    assert (await rotated(every=True, wrapping_keys=file_key("n")))[1].startswith("5 keys")
    async with administration.services_of(settings(wrapping_keys=file_key("n"))) as services:
        async with services.database.read() as session:
            access = await open_registry(session, organization_id, ids[3], services.keys)
        assert access.password == "secret 3"
    done, said = await rotated(wrapping_keys=file_key("o"))
    assert not done
    assert "5 secrets are still under another key: they could not be opened" in said
