"""Tools are found where the operator says or on PATH, and asked for their version once for each file of that name."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from schema.scans.models import Engine
from tests.simulators.tools import EMPTY, HANG, write_tool
from workers.engines.catalog import ADAPTERS
from workers.engines.tools import OFF, Tool, Toolbox

TRIVY_METADATA = {"Version": 2, "UpdatedAt": "2026-05-01T06:14:20.123456789Z", "NextUpdate": "2026-05-02T06:14:20Z"}


async def look(toolbox: Toolbox, engine: Engine = Engine.SYFT) -> Tool:
    return (await toolbox.look([engine]))[engine]


async def test_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tool(tmp_path / "bin", "syft", EMPTY)
    monkeypatch.setenv("PATH", str(path.parent))
    tool = await look(Toolbox())
    assert (tool.path, tool.provider, tool.problem) == (path, "syft 9.8.7", None)


async def test_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [tool.absence for tool in (await Toolbox().look(Engine)).values()] == [
        f"{ADAPTERS[engine].tool} is not installed" for engine in Engine
    ]


async def test_where_the_operator_says(tmp_path: Path) -> None:
    path = write_tool(tmp_path, "some-syft", EMPTY, version="1.0.0-rc.1+build")
    tool = await look(Toolbox(places={Engine.SYFT: str(path)}))
    assert (tool.path, tool.provider) == (path, "syft 1.0.0-rc.1+build")


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (OFF, "is switched off (HARBORGUARD_ENGINE_SYFT)"),
        ("/no/such/program", "cannot be run from where HARBORGUARD_ENGINE_SYFT says"),
    ],
)
async def test_not_where_the_operator_says(
    place: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(write_tool(tmp_path, "syft", EMPTY).parent))
    tool = await look(Toolbox(places={Engine.SYFT: place}))
    assert (tool.path, tool.problem) == (None, problem)


async def test_a_replaced_program_is_asked_again_and_the_same_one_is_not(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    toolbox = Toolbox(places={Engine.SYFT: str(tmp_path / "syft")})

    def install(version: str) -> None:
        path = write_tool(tmp_path, "syft", EMPTY, version=version)
        path.write_text(
            path.read_text().replace("import sys\n", f"import sys\nprint({str(asked)!r}, file=sys.stderr)\n", 1)
        )

    install("1.0.0")
    first = await look(toolbox)
    os.utime(tmp_path / "syft", ns=(1, (tmp_path / "syft").stat().st_mtime_ns))
    assert await look(toolbox) == first
    assert len(toolbox._versions) == 1
    install("2.0.0")
    assert (await look(toolbox)).version == "2.0.0"


@pytest.mark.parametrize(
    "answer", ["sys.exit(1)", "print('no number')", "print('1.2.3'); sys.exit(3)", "while True: print('x' * 9999)"]
)
async def test_a_program_that_tells_no_version_is_not_used(tmp_path: Path, answer: str) -> None:
    path = write_tool(tmp_path, "syft", HANG)
    path.write_text(path.read_text().replace('print("simulated 9.8.7")', answer))
    tool = await look(Toolbox(places={Engine.SYFT: str(path)}))
    assert tool.problem == f"does not tell its version ({path})"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("syft 1.18.1", "1.18.1"),
        ("Version: 0.58.1\nVulnerability DB:\n  Version: 2\n  UpdatedAt: 2025-01-01 06:14:20.1 +0000 UTC", "0.58.1"),
        ("grype 0.87.0", "0.87.0"),
        ("dockle version 0.4.15", "0.4.15"),
        (
            "osv-scanner version: 2.0.0\nosv-scalibr version: 0.1.6\ncommit: abcdef\nbuilt at: 2025-03-17T00:00:00Z",
            "2.0.0",
        ),
        ("dive 0.13.1", "0.13.1"),
    ],
)
async def test_versions_as_the_tools_write_them(tmp_path: Path, said: str, version: str) -> None:
    """The words are those of each tool's own `--version`, or of its source where no binary is at hand."""
    path = write_tool(tmp_path, "tool", EMPTY)
    path.write_text(path.read_text().replace('"simulated 9.8.7"', repr(said)))
    assert (await look(Toolbox(places={Engine.SYFT: str(path)}))).version == version


async def test_trivy_dates_its_database_itself(tmp_path: Path) -> None:
    toolbox = Toolbox(places={Engine.TRIVY: str(write_tool(tmp_path, "trivy", EMPTY))}, databases=tmp_path / "db")
    assert (await look(toolbox, Engine.TRIVY)).is_blind
    directory = tmp_path / "db" / "trivy" / "db"
    directory.mkdir(parents=True)
    (directory / "metadata.json").write_text(json.dumps(TRIVY_METADATA))
    assert (await look(toolbox, Engine.TRIVY)).is_blind, "a description without the database"
    (directory / "trivy.db").touch()
    tool = await look(toolbox, Engine.TRIVY)
    assert not tool.is_blind
    assert str(tool.database_date) == "2026-05-01 06:14:20.123456+00:00"
    (directory / "metadata.json").write_text("[")
    assert (await look(toolbox, Engine.TRIVY)).is_blind


async def test_grype_needs_a_database_and_the_highest_schema_dates_it(tmp_path: Path) -> None:
    toolbox = Toolbox(places={Engine.GRYPE: str(write_tool(tmp_path, "grype", EMPTY))}, databases=tmp_path / "db")
    assert (await look(toolbox, Engine.GRYPE)).absence == "grype has no vulnerability database"
    for schema, name, stated in (
        ("5", "metadata.json", {"built": "2025-01-02T01:31:08Z", "version": 5}),
        ("6", "import.json", {"digest": "xxh64:0", "built": "2026-05-02T06:00:00Z"}),
    ):
        directory = tmp_path / "db" / "grype" / "db" / schema
        directory.mkdir(parents=True)
        (directory / "vulnerability.db").touch()
        (directory / name).write_text(json.dumps(stated))
        tool = await look(toolbox, Engine.GRYPE)
        assert tool.problem is None
        assert tool.database_date is not None
        assert tool.database_date == datetime.fromisoformat(str(stated["built"]))
    (tmp_path / "db" / "grype" / "db" / "6" / "import.json").unlink()
    os.utime(tmp_path / "db" / "grype" / "db" / "6" / "vulnerability.db", (1_000_000_000, 1_000_000_000))
    dated = (await look(toolbox, Engine.GRYPE)).database_date
    assert dated is not None
    assert dated.timestamp() == 1_000_000_000


async def test_the_oldest_export_dates_osv_scanner(tmp_path: Path) -> None:
    toolbox = Toolbox(places={Engine.OSV: str(write_tool(tmp_path, "osv-scanner", EMPTY))}, databases=tmp_path / "db")
    assert (await look(toolbox, Engine.OSV)).problem == "has no vulnerability database"
    for ecosystem, seconds in (("npm", 1_800_000_000), ("Debian", 1_700_000_000)):
        export = tmp_path / "db" / "osv-scanner" / ecosystem / "all.zip"
        export.parent.mkdir(parents=True)
        export.touch()
        os.utime(export, (seconds, seconds))
    dated = (await look(toolbox, Engine.OSV)).database_date
    assert dated is not None
    assert dated.timestamp() == 1_700_000_000
