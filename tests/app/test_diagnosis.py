"""The doctor finds what is wrong and says what to do; it changes nothing."""

from __future__ import annotations

import base64
import shutil
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from app import diagnosis
from app.diagnosis import Check, check_as_text, examine, look_for_tools, tools_as_json
from app.keys import KEY_FILE, load_master_key
from app.migrations import downgrade, upgrade
from app.settings import Settings
from schema.kernel.database import Database
from schema.scans.models import Engine
from tests.servers import Server
from tests.simulators.tools import EMPTY, write_tool
from workers.engines.tools import NO_DATABASE, OFF, Tool

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SWITCHED_OFF = {f"engine_{engine}": OFF for engine in Engine}


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(data_dir=tmp_path / "data", **{**SWITCHED_OFF, **more})  # type: ignore[arg-type]  # checked by pydantic


def by_subject(checks: list[Check]) -> dict[str, Check]:
    return {check.subject: check for check in checks}


def tool(engine: Engine = Engine.TRIVY, **values: object) -> Tool:
    known = Tool(
        engine=engine, name=engine.value, path=Path("/bin/tool"), version="1.2", database_date=NOW, problem=None
    )
    return replace(known, **values)  # type: ignore[arg-type]  # of a dataclass


async def test_nothing_is_there_yet_and_nothing_is_made(tmp_path: Path) -> None:
    checks = by_subject(list(await examine(settings(tmp_path))))
    problems = {subject for subject, check in checks.items() if check.advice} - {"Disk", "Fence"}  # of this machine
    assert problems == set()
    assert checks["Database"].finding.startswith("none yet")
    assert checks["Redis"].finding.startswith("not needed")
    assert not (tmp_path / "data").exists()


async def test_a_database_that_is_up_to_date_has_no_advisories(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.data_dir.mkdir()
    database = Database(chosen.database)
    await upgrade(database)
    checks = by_subject(list(await examine(chosen)))
    assert checks["Database"].advice is None
    assert "advisories import" in str(checks["Advisory data"].advice)
    await downgrade(database, "base")
    checks = by_subject(list(await examine(chosen)))
    assert "harborguard migrate" in str(checks["Database"].advice)
    assert "Advisory data" not in checks
    await database.close()


async def test_a_postgresql_server_is_asked_for_its_clock(database: Database, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    checks = by_subject(list(await examine(settings(tmp_path, database_url=url))))
    assert checks["Database"].advice is None
    assert ("Clock" in checks) == (not database.is_sqlite)
    if "Clock" in checks:
        assert checks["Clock"].advice is None


async def test_servers_that_do_not_answer(tmp_path: Path) -> None:
    away = settings(
        tmp_path, database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1"
    )
    checks = by_subject(list(await examine(away)))
    assert "HARBORGUARD_DATABASE_URL" in str(checks["Database"].advice)
    assert "HARBORGUARD_REDIS_URL" in str(checks["Redis"].advice)


async def test_a_redis_that_answers(tmp_path: Path, redis: Server) -> None:
    checks = by_subject(list(await examine(settings(tmp_path, redis_url=redis.url))))
    assert (checks["Redis"].finding, checks["Redis"].advice, checks["Clock"].advice) == ("reachable", None, None)


def test_a_key_file_that_others_can_read(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    load_master_key(chosen.data_dir)
    assert diagnosis.check_key(chosen).advice is None
    (chosen.data_dir / KEY_FILE).chmod(0o644)
    check = diagnosis.check_key(chosen)
    assert "chmod 600" in check.finding
    assert check.advice is not None


@pytest.mark.parametrize(("key", "fine"), [(base64.b64encode(bytes(32)).decode(), True), ("short", False)])
def test_a_key_in_the_environment(tmp_path: Path, key: str, fine: bool) -> None:  # noqa: FBT001 -- a parameter
    check = diagnosis.check_key(settings(tmp_path, master_key=key))
    assert (check.advice is None) == fine
    assert key not in check.finding


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 -- as shutil's
    for free, fine in ((diagnosis.FREE_BYTES, True), (diagnosis.FREE_BYTES - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(free, 0, free))
        assert (diagnosis.check_space(settings(tmp_path)).advice is None) == fine


@pytest.mark.parametrize(("version", "fine"), [(7, True), (6, True), (3, False), (-1, False)])
def test_a_kernel_that_cannot_fence(version: int, fine: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setattr(diagnosis, "landlock_version", lambda _: version)
    assert (diagnosis.check_fence([tool()]).advice is None) == fine
    assert diagnosis.check_fence([tool(problem="is not installed")]).advice is None


@pytest.mark.parametrize(("seconds", "words", "fine"), [(1, "ahead of", True), (-9, "behind", False)])
def test_clocks_apart(seconds: float, words: str, fine: bool) -> None:  # noqa: FBT001
    check = diagnosis.check_clock("database", seconds)
    assert words in check.finding
    assert (check.advice is None) == fine


def test_old_advisory_data() -> None:
    fresh, old = NOW - timedelta(days=1), NOW - timedelta(days=30)
    assert diagnosis.check_advisories([("npm", fresh)], now=NOW).advice is None
    check = diagnosis.check_advisories([("npm", fresh), ("PyPI", old)], now=NOW)
    assert "PyPI" in check.finding
    assert check.advice is not None


@pytest.mark.parametrize(
    ("found", "place", "fallback", "advice"),
    [
        (tool(), "", True, None),
        (tool(database_date=NOW - timedelta(days=8)), "", True, "Update its database"),
        (tool(database_date=None), "", True, None),
        (tool(path=None, version=None, problem="is not installed"), "", True, None),
        (tool(path=None, version=None, problem="is not installed"), "", False, "Install it"),
        (tool(path=None, version=None, problem="is switched off"), OFF, False, None),
        (tool(path=None, version=None, problem="cannot be run"), "/no/trivy", True, "HARBORGUARD_ENGINE_TRIVY"),
        (tool(problem=NO_DATABASE, database_date=None), "", True, "Get its database"),
        (tool(version=None, problem="does not tell its version"), "", True, "Install a version that runs here"),
        (tool(Engine.DOCKLE, path=None, version=None, problem="is not installed"), "", False, "Install it"),
    ],
)
def test_tools(found: Tool, place: str, fallback: bool, advice: str | None, tmp_path: Path) -> None:  # noqa: FBT001
    chosen = settings(tmp_path, native_fallback=fallback, **{f"engine_{found.engine}": place})
    [check] = diagnosis.check_tools([found], chosen, now=NOW)
    assert (advice is None) == (check.advice is None)
    assert (advice or "") in (check.advice or "")


async def test_the_list_of_tools(tmp_path: Path) -> None:
    syft = write_tool(tmp_path, "syft", EMPTY)
    listed = orjson.loads(tools_as_json(await look_for_tools(settings(tmp_path, engine_syft=str(syft)))))
    known = {each["engine"]: each for each in listed}
    assert list(known) == [engine.value for engine in Engine]
    assert (known["syft"]["answeredBy"], known["syft"]["path"]) == ("syft 9.8.7", str(syft))
    assert (known["grype"]["answeredBy"], known["dive"]["answeredBy"]) == ("native", "native")


def test_a_line_says_what_to_do() -> None:
    lines = check_as_text(Check(subject="Disk", finding="[full]", advice="Free some")).plain
    assert lines.split() == ["problem", "Disk:", "[full]", "Free", "some"]
    assert check_as_text(Check(subject="Disk", finding="fine")).plain.startswith("ok")


async def test_a_database_of_another_version(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.data_dir.mkdir()
    database = Database(chosen.database)
    await upgrade(database)
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    checks = by_subject(list(await examine(chosen)))
    assert "revision 9999" in checks["Database"].finding
    await database.close()
