"""Tools that misbehave fail alone, leave nothing behind, and learn nothing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from schema.scans.models import Engine, EngineRunStatus
from tests.processes import is_alive, until
from tests.simulators import tools
from tests.simulators.tools import write_tool
from tests.tools import REAL_TOOLS, fenced
from tests.workers.engines.conftest import Bench
from workers.engines.adapter import Call
from workers.engines.answer import EngineAnswer
from workers.engines.catalog import ADAPTERS
from workers.engines.running import EngineEvent
from workers.sandbox import MIB


async def simulated(bench: Bench, body: str) -> EngineAnswer:
    path = write_tool(bench.directory / "bin", "syft", body)
    return (await bench.run({Engine.SYFT: path}))[Engine.SYFT]


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (tools.REFUSE, "ended with exit code 1: FATAL cannot open …/syft/image: \N{REPLACEMENT CHARACTER}[31mbroken"),
        (tools.TRUNCATED, "printed something that is not JSON"),
        (tools.DEEP, "printed something that is not JSON"),
        (tools.GARBAGE, "printed something that is not JSON"),
        (tools.SILENT, "printed nothing"),
        (tools.NOT_AN_OBJECT, "printed JSON that is not an object"),
        ("print('{}')", "printed a report without packages"),
        ("import os; os.abort()", "ended with exit code -6"),
        (tools.FLOOD, "was stopped after printing 1048576 bytes"),
    ],
)
async def test_a_tool_that_gives_no_answer(bench: Bench, body: str, failure: str) -> None:
    bench.limits = replace(bench.limits, output_bytes=MIB)
    answer = await simulated(bench, body)
    assert answer.report is None
    assert answer.failure is not None
    assert answer.failure.startswith(failure)
    assert str(bench.directory) not in answer.failure
    assert answer.failure.isprintable()
    assert [event.status for event in bench.events] == [EngineRunStatus.RUNNING, EngineRunStatus.FAILED]
    assert list((bench.directory / "scan" / "engines").iterdir()) == []


async def test_a_tool_that_takes_too_long(bench: Bench) -> None:
    bench.limits = replace(bench.limits, seconds=1)
    assert (await simulated(bench, tools.HANG)).failure == "was stopped after 1 seconds"


async def test_a_report_larger_than_what_is_read(bench: Bench) -> None:
    bench.limits = replace(bench.limits, output_bytes=1000)
    path = write_tool(bench.directory / "bin", "dive", "open('report.json', 'w').write('x' * 2000)")
    answer = (await bench.run({Engine.DIVE: path}))[Engine.DIVE]
    assert answer.failure == "wrote a report of more than 1000 bytes"


@pytest.mark.parametrize(
    "body", ["", "import os; os.symlink('/etc/passwd', 'report.json')", "import os; os.mkdir('report.json')"]
)
async def test_a_report_that_is_no_file(bench: Bench, body: str) -> None:
    path = write_tool(bench.directory / "bin", "dive", body)
    answer = (await bench.run({Engine.DIVE: path}))[Engine.DIVE]
    assert answer.failure == "wrote no report"


async def test_a_report_that_takes_too_much_memory_to_read(bench: Bench) -> None:
    bench.analysis = replace(bench.analysis, memory_bytes=96 * MIB)
    body = "print('{\"artifacts\": [' + ','.join(['{\"a\": [1.5, 2.5, 3.5]}'] * 1_000_000) + ']}')"
    answer = await simulated(bench, body)
    assert answer.failure is not None
    assert "a report that cannot be read" in answer.failure


async def test_a_defect_of_ours_costs_one_engine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("workers.engines.running.read_report", break_down)
    assert "the server's log has the details" in str((await simulated(bench, tools.EMPTY)).failure)


async def test_one_fails_and_the_others_answer(bench: Bench) -> None:
    bad = write_tool(bench.directory / "bin", "trivy", tools.REFUSE)
    answers = await bench.run({Engine.TRIVY: bad, Engine.DIVE: REAL_TOOLS[Engine.DIVE]})
    assert answers[Engine.TRIVY].report is None
    assert answers[Engine.DIVE].report is not None


@fenced
async def test_a_tool_knows_nothing_of_us(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HARBORGUARD_MASTER_KEY", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "DOCKER_CONFIG", "PYTHONPATH"):
        monkeypatch.setenv(name, "CANARY")

    answer = await simulated(bench, tools.ENVIRONMENT)

    assert answer.output is not None, answer.failure
    said = orjson.loads(answer.output)
    directory = str(bench.directory / "scan" / "engines" / "syft")
    assert said["environment"] == {
        "HOME": directory,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": os.defpath,
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
        "TMPDIR": directory,
        "XDG_CACHE_HOME": directory,
    }
    assert said["arguments"][1:] == ["scan", "--quiet", "--from", "oci-dir", "--output", "syft-json", "--", "image"]
    assert set(said["files"]) == {"image", "printed.json"}
    assert said["seen"] == [], "the environment of no other process"


@fenced
async def test_a_tool_cannot_touch_the_image_or_itself(bench: Bench) -> None:
    answer = await simulated(bench, tools.ESCAPE)
    assert answer.output is not None, answer.failure
    attempts = orjson.loads(answer.output)["attempts"]
    assert attempts["wrote"] == []
    assert len(attempts["refused"]) > 3
    assert not (bench.directory / "bin" / "touched").exists()


async def test_cancelled_nothing_of_it_is_left(bench: Bench) -> None:
    """A tool that ignores every request, and its children, and the one that waits for its turn."""
    noted = bench.directory / "scan" / "engines" / "syft" / "printed.json"
    bench.limits = replace(bench.limits, concurrency=1)
    stubborn = {
        engine: write_tool(bench.directory / "bin", engine, tools.STUBBORN) for engine in (Engine.SYFT, Engine.TRIVY)
    }
    running = asyncio.create_task(bench.run(stubborn))

    async def all_noted() -> bool:
        return noted.exists() and len(noted.read_text().splitlines()) == 4

    await until(all_noted)
    pids = [int(line) for line in noted.read_text().splitlines()]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    async def all_dead() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await until(all_dead)
    assert len(bench.events) == 1, "the other one never started"


async def test_whoever_hears_of_progress_may_end_it(bench: Bench) -> None:
    class LostError(Exception):
        pass

    def lose(event: EngineEvent) -> None:
        if event.status is not EngineRunStatus.RUNNING:
            raise LostError

    bench.react = lose
    hanging = write_tool(bench.directory / "bin", "trivy", tools.HANG)
    with pytest.raises(LostError):
        await bench.run({Engine.SYFT: write_tool(bench.directory / "bin", "syft", tools.EMPTY), Engine.TRIVY: hanging})


async def test_output_too_large_to_keep_is_read_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engines.running.KEPT_OUTPUT", 10)
    answer = await simulated(bench, tools.EMPTY)
    assert (answer.output, answer.report is not None) == (None, True)


async def test_no_more_at_a_time_than_allowed(bench: Bench) -> None:
    bench.limits = replace(bench.limits, concurrency=1)
    await bench.run({engine: REAL_TOOLS[engine] for engine in (Engine.SYFT, Engine.DIVE)})
    running, most = 0, 0
    for event in bench.events:
        running += 1 if event.status is EngineRunStatus.RUNNING else -1
        most = max(most, running)
    assert most == 1


async def test_an_image_that_makes_no_archive_fails_only_those_that_need_one(bench: Bench) -> None:
    first = bench.image.layers[0]
    (bench.image.layout / "blobs" / first.digest.replace(":", "/")).unlink()
    answers = await bench.run(
        {
            Engine.DIVE: REAL_TOOLS[Engine.DIVE],
            Engine.SYFT: write_tool(bench.directory / "bin", "syft", tools.EMPTY),
        }
    )
    assert str(answers[Engine.DIVE].failure).startswith("could not be given the image: ")
    assert answers[Engine.SYFT].report is not None


def test_arguments_are_ours_alone(tmp_path: Path) -> None:
    """T-51: nothing a tenant wrote is among them; the image is a name of ours behind an option or the end of options."""
    call = Call(image=Path("image"), directory=tmp_path, databases=tmp_path, vulnerabilities=True, seconds=5)
    for adapter in ADAPTERS.values():
        arguments = list(adapter.arguments(call))
        at = max(position for position, each in enumerate(arguments) if each in {"image", "oci-dir:image"})
        assert arguments[at - 1] in {"--", "--input"}, adapter.tool
