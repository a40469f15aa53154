"""`harborguard scan`: an image of this machine, scanned without a server."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import select

from app import administration, local_scan
from app.client.policy import ExitCode, Policy
from app.client.results import Format
from app.client.scanning import Terminal, Wanted, _name_of, request_for
from app.settings import Settings
from schema.jobs.models import Job, JobState
from schema.kernel.columns import Table
from schema.kernel.database import Database
from schema.organizations.models import Organization
from schema.scans.models import Engine, EngineRun, Scan, ScanStatus
from tests.factories.images import write_layout
from tests.processes import PATIENCE, paused_reader, until_gone
from tests.workers.workshop import advisories, debian, store_advisories

ENGINES = (Engine.TRIVY, Engine.SYFT)


class Machine:
    """Somebody's laptop."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(data_dir=directory / "data")
        self.layout = write_layout(directory / "My Image", debian())
        self.out, self.progress = io.StringIO(), io.StringIO()

    async def set_up(self) -> None:
        await administration.set_up(
            self.settings, organization="Acme", email="ada@acme.example", name="Ada", password="correct horse battery"
        )
        async with self.database() as database:
            await store_advisories(database, advisories("openssl"))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        database = Database(self.settings.database)
        yield database
        await database.close()

    async def rows(self, table: type[Table]) -> list[Any]:
        async with self.database() as database, database.read() as session:
            return list((await session.execute(select(table))).scalars())

    async def scan(
        self, image: str | None = None, *, engines: tuple[Engine, ...] = ENGINES, seconds: float = PATIENCE
    ) -> ExitCode:
        progress = Console(file=self.progress)
        async with asyncio.timeout(PATIENCE):
            return await local_scan.scan(
                self.settings,
                request_for(image or str(self.layout), engines=engines, name=None, platform=None),
                Wanted(policy=Policy(), format=Format.TABLE, output=None),
                Terminal(out=Console(file=self.out, width=200), progress=progress, errors=progress),
                organization_id=None,
                seconds=seconds,
            )


@pytest.fixture
async def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    await machine.set_up()
    return machine


async def test_a_layout_is_scanned_and_the_result_printed(machine: Machine) -> None:
    assert await machine.scan() is ExitCode.CLEAN

    printed = machine.out.getvalue()
    assert "local/my-image" in printed
    assert "CVE-2024-1000" in printed
    [job] = await machine.rows(Job)
    assert job.state is JobState.DONE
    assert list(machine.settings.scratch.iterdir()) == []


async def test_an_engine_named_twice_runs_once(machine: Machine) -> None:
    assert await machine.scan(engines=(Engine.SYFT, Engine.SYFT)) is ExitCode.CLEAN

    assert len(await machine.rows(EngineRun)) == 1


async def test_a_file_that_is_no_image_fails(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")

    assert await machine.scan(str(tmp_path / "notes.txt")) is ExitCode.ERROR

    assert "FAILED" in machine.out.getvalue()


async def test_every_attempt_is_made_right_here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no worker to hand the job back to, and none that could read the file."""

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("workers.matching.match_packages", crash)

    assert await machine.scan() is ExitCode.ERROR

    [job] = await machine.rows(Job)
    assert (job.state, job.attempt) == (JobState.FAILED, 3)


async def test_an_interrupted_scan_is_cancelled(machine: Machine) -> None:
    looking = asyncio.create_task(paused_reader(os.getpid(), "examine"))
    task = asyncio.create_task(machine.scan())
    child = await looking

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await _assert_cancelled(machine, child)


async def test_a_scan_that_takes_too_long_is_cancelled(machine: Machine) -> None:
    looking = asyncio.create_task(paused_reader(os.getpid(), "examine"))
    task = asyncio.create_task(machine.scan(seconds=5))
    child = await looking

    assert await task is ExitCode.TIMED_OUT

    await _assert_cancelled(machine, child)


async def _assert_cancelled(machine: Machine, child: int) -> None:
    assert "is cancelled" in machine.progress.getvalue()
    await until_gone(child)
    [scan] = await machine.rows(Scan)
    assert scan.status is ScanStatus.CANCELLED
    [job] = await machine.rows(Job)
    assert job.state is JobState.CANCELLED
    assert list(machine.settings.scratch.iterdir()) == []


async def test_there_need_be_no_setup(tmp_path: Path) -> None:
    """The first scan founds an organization, the second is its scan too, and whoever sets up takes it over."""
    machine = Machine(tmp_path)

    for _ in range(2):
        assert await machine.scan() is ExitCode.CLEAN
    await machine.set_up()

    [organization] = await machine.rows(Organization)
    assert organization.name == "Acme"
    assert {scan.organization_id for scan in await machine.rows(Scan)} == {organization.id}


def test_what_is_no_file_is_a_reference() -> None:
    request = request_for("ghcr.io/acme/api:1", engines=ENGINES, name=None, platform="linux/arm64")

    assert (request.image, request.path, request.platform) == ("ghcr.io/acme/api:1", None, "linux/arm64")


def test_a_local_image_may_be_named(tmp_path: Path) -> None:
    request = request_for(str(tmp_path), engines=ENGINES, name="acme/api:1", platform=None)

    assert (request.image, request.path) == ("acme/api:1", str(tmp_path))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("build/My App.tar", "local/my-app"),
        ("image.tar.gz", "local/image"),
        ("/srv/images/Ünïcode.tar", "local/n-code"),
        ("/srv/----", "local/image"),
    ],
)
def test_a_local_image_gets_a_name_that_is_a_reference(path: str, name: str) -> None:
    assert _name_of(Path(path)) == name
