"""`harborguard scan` against a real server and without one: every exit code reached for real."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from tests.app.client.served import CURL, OPENSSL, Pipeline, Served, ended
from tests.factories.images import write_layout
from tests.processes import PATIENCE, paused_reader
from tests.simulators.gateway import gatewaying
from tests.simulators.registry import answering, cut_short, hanging
from tests.workers.workshop import debian

JUDGED = ("--engine", "trivy", "--wait", "--fail-on", "high")
OUTCOMES: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "clean": ("clean", ("--fail-on", "high", "--fail-on-grade", "b"), 0, "Passed"),
    "policy failed": ("risky", ("--fail-on", "HIGH", "--ignore", "CVE-1999-1"), 2, "2 of 2 findings"),
    "grade failed": ("risky", ("--fail-on-grade", "D"), 2, "the grade is D"),
    "only fixed": ("unfixed", ("--fail-on", "high", "--only-fixed"), 0, "Passed"),
    "ignored": ("risky", ("--fail-on", "low", "--ignore", OPENSSL.lower(), "--ignore", CURL), 0, "Passed"),
    "nobody could judge": ("empty", ("--fail-on", "high"), 1, "could not be judged"),
    "nobody has to judge": ("empty", ("--fail-on", "high", "--allow-ungraded"), 0, "Passed"),
    "partial": ("clean", ("--engine", "dockle", "--fail-on", "high"), 4, "the scan is partial: dockle failed"),
}


@pytest.mark.parametrize(("image", "options", "code", "words"), OUTCOMES.values(), ids=OUTCOMES)
def test_an_outcome_on_a_server(
    served: Served, pipeline: Pipeline, image: str, options: tuple[str, ...], code: int, words: str
) -> None:
    exited, out, errors = pipeline.scan(str(served.archive(image)), "--wait", "--engine", "trivy", *options)

    assert (exited, words.lower() in errors.lower()) == (code, True), errors
    assert "docker.io/local/" in out


@pytest.mark.parametrize("name", ["clean", "policy failed", "nobody could judge", "partial"])
def test_the_same_outcome_without_a_server(laptop: Served, alone: Pipeline, name: str) -> None:
    image, options, code, words = OUTCOMES[name]
    exited, out, errors = alone.scan(str(laptop.archive(image)), "--engine", "trivy", *options)

    assert (exited, words.lower() in errors.lower()) == (code, True), errors
    assert "docker.io/local/" in out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("image.tar", "--resume", "scn-1"),
        ("image.tar", "--fail-on", "terrible"),
        ("image.tar", "--no-such-option"),
        ("image.tar", "--wait", "--only-fixed"),
        ("image.tar", "--fail-on", "high"),
        ("image.tar", "--format", "json"),
        ("image.tar", "--wait", "-o", "no/such/directory/file"),
        ("image.tar", "--server", "http://127.0.0.1:1", "--local"),
        ("image.tar", "--organization", "org-1"),
        ("image.tar", "--server", "harborguard.example"),
        ("image.tar", "--api-key", "not a key"),
    ],
)
def test_wrong_usage_is_an_error_and_not_a_failed_policy(pipeline: Pipeline, arguments: tuple[str, ...]) -> None:
    code, out, errors = pipeline.scan(*arguments)

    assert (code, out) == (1, "")
    assert errors


def test_other_commands_keep_2_for_wrong_usage() -> None:
    assert CliRunner().invoke(cli, ["serve", "--no-such-option"]).exit_code == 2


def test_errors(served: Served, pipeline: Pipeline) -> None:
    archive = str(served.archive("clean"))
    assert "UNAUTHORIZED" in _error(pipeline, archive, HARBORGUARD_API_KEY="hg_ak_" + "0" * 48)
    assert "wants a key" in _error(pipeline, archive, HARBORGUARD_API_KEY="", HARBORGUARD_API_KEY_FILE="")
    assert "HARBORGUARD_PORT" in _error(pipeline, archive, HARBORGUARD_PORT="70000")
    assert "NOT_FOUND" in _error(pipeline, "--resume", "scn-unknown")
    assert "NOT_FOUND" in _error(pipeline, "--resume", "../images")
    assert "oci-layout" in _error(pipeline, str(pipeline.directory))
    (pipeline.directory / "notes.txt").write_text("no image")
    failed = _error(pipeline, "notes.txt", "--wait", "--fail-on", "high", "--format", "sarif", "-o", "report.sarif")
    assert "FAILED" in failed
    assert not (pipeline.directory / "report.sarif").exists()


def _error(pipeline: Pipeline, *arguments: str, **environment: str) -> str:
    code, _, errors = pipeline.scan(*arguments, **environment)
    assert code == 1, errors
    return errors


def test_without_wait_there_is_an_id_that_can_be_resumed(served: Served, pipeline: Pipeline) -> None:
    code, out, errors = pipeline.scan(str(served.archive("risky")), "--engine", "trivy")
    assert code == 0, errors
    scan_id = out.strip()
    assert scan_id.startswith("scn-")

    assert pipeline.scan("--resume", scan_id)[0] == 0
    assert pipeline.scan("--resume", scan_id, "--fail-on", "high")[0] == 2


def test_json_is_all_there_is_on_stdout(served: Served, pipeline: Pipeline) -> None:
    code, out, errors = pipeline.run(str(served.archive("risky")), *JUDGED, "--only-fixed", "--format", "json")

    assert code == 2
    document = json.loads(out)
    assert document["scan"]["status"] == "COMPLETE"
    assert document["scan"]["requestedBy"].startswith("api-key:")
    assert [finding["cveId"] for finding in document["findings"]] == [OPENSSL, CURL]
    assert document["policy"]["failOn"] == "HIGH"
    assert document["verdict"]["violations"] == [document["findings"][0]["id"]]
    assert document["verdict"]["exitCode"] == 2
    assert "100 %" in errors
    assert "\x1b" not in out + errors


def test_a_file_is_replaced_in_one_step(served: Served, pipeline: Pipeline) -> None:
    target = pipeline.directory / "result.txt"
    target.write_text("older")

    code, out, errors = pipeline.scan(str(served.archive("risky")), *JUDGED, "-o", "result.txt", "--quiet")

    assert (code, out) == (2, "")
    assert OPENSSL in target.read_text()
    assert [path.name for path in pipeline.directory.iterdir()] == ["result.txt"]
    assert errors.count("\n") == 1
    code, out, errors = pipeline.scan(str(served.archive("clean")), *JUDGED, "-o", "result.txt", "--quiet")
    assert (code, out, errors) == (0, "", "")
    assert "Grade A" in target.read_text()


def test_a_layout_directory_is_packed_and_sent(pipeline: Pipeline) -> None:
    write_layout(pipeline.directory / "layout", debian({"openssl": "3.0.1-1"}))

    assert pipeline.scan("layout", *JUDGED, "--name", "acme/layout:1")[0] == 2


def test_only_what_is_new(served: Served, pipeline: Pipeline) -> None:
    def scan(image: str, *options: str) -> tuple[int, str]:
        code, out, errors = pipeline.scan(
            str(served.archive(image)), *JUDGED, "--name", "acme/app:new", "--format", "json", *options
        )
        return code, (errors if not out else out + errors)

    code, text = scan("unfixed", "--new-only")
    assert code == 2
    assert "no earlier scan" in text
    code, text = scan("risky", "--new-only")
    assert code == 2
    assert "1 of 2 findings" in text
    assert "compared with scn-" in text
    code, text = scan("risky", "--new-only")
    assert code == 0
    assert scan("risky")[0] == 2


def test_the_settings_file_and_a_key_file(served: Served, pipeline: Pipeline) -> None:
    (pipeline.directory / "key").write_text(pipeline.environment["HARBORGUARD_API_KEY"] + "\n")
    (pipeline.directory / "harborguard.toml").write_text(f'url = "{served.url}"\napi_key_file = "key"\n')
    environment = {name: value for name, value in pipeline.environment.items() if not name.startswith("HARBORGUARD_")}

    assert Pipeline(pipeline.directory, environment).scan(str(served.archive("risky")), *JUDGED)[0] == 2


def test_nobody_has_to_set_anything_up_first(laptop: Served, tmp_path: Path) -> None:
    fresh = Pipeline(tmp_path, {**laptop.environment, "HARBORGUARD_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200"})
    for _ in range(2):
        code, out, errors = fresh.scan(str(laptop.archive("clean")), "--engine", "syft", "--format", "json")
        assert (code, json.loads(out)["scan"]["status"]) == (0, "COMPLETE"), errors


def test_local_means_here(served: Served, alone: Pipeline) -> None:
    code, _, errors = alone.scan(str(served.archive("risky")), *JUDGED, "--local", HARBORGUARD_URL="http://127.0.0.1:1")
    assert code == 2, errors


def test_colour_is_for_people(served: Served, pipeline: Pipeline) -> None:
    assert "\x1b[" in _on_a_terminal(pipeline, served)
    assert "\x1b[3" not in _on_a_terminal(pipeline, served, NO_COLOR="1")


def _on_a_terminal(pipeline: Pipeline, served: Served, **environment: str) -> str:
    ours, theirs = pty.openpty()
    process = pipeline.start(
        str(served.archive("risky")), *JUDGED, terminal=theirs, TERM="xterm-256color", **environment
    )
    os.close(theirs)
    printed = b"".join(iter(partial(_read, ours), b""))
    os.close(ours)
    assert process.wait(PATIENCE) == 2
    return printed.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side has gone
        return b""


# Waiting


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
async def test_whoever_is_interrupted_is_told_how_to_go_on(
    served: Served, pipeline: Pipeline, told: signal.Signals
) -> None:
    holding = asyncio.create_task(paused_reader(served.pid, "unpack"))
    process = pipeline.start(str(served.archive("risky")), *JUDGED)
    child = await holding

    process.send_signal(told)
    code, out, errors = await asyncio.to_thread(ended, process)

    assert (code, out) == (128 + told, "")
    scan_id = errors.split("--resume ")[1].split()[0]
    os.kill(child, signal.SIGCONT)
    code, _, errors = await asyncio.to_thread(pipeline.run, "--resume", scan_id, "--fail-on", "high")
    assert code == 2, errors


async def test_who_waits_too_long_is_told_how_to_go_on(served: Served, pipeline: Pipeline) -> None:
    holding = asyncio.create_task(paused_reader(served.pid, "unpack"))
    process = pipeline.start(str(served.archive("risky")), *JUDGED, "--timeout", "4")
    child = await holding

    code, out, errors = await asyncio.to_thread(ended, process)

    assert (code, out) == (3, "")
    assert "--resume scn-" in errors
    os.kill(child, signal.SIGCONT)


async def test_a_server_that_is_killed_and_comes_back(served: Served, pipeline: Pipeline) -> None:
    holding = asyncio.create_task(paused_reader(served.pid, "unpack"))
    process = pipeline.start(str(served.archive("risky")), *JUDGED)
    await holding

    served.stop(signal.SIGKILL)
    served.start()
    await asyncio.to_thread(served.until_ready)
    code, _, errors = await asyncio.to_thread(ended, process)

    assert code == 2, errors
    assert "trying again" in errors


def test_nobody_there_in_time(pipeline: Pipeline) -> None:
    code, out, errors = pipeline.scan("acme/api:1", "--wait", "--timeout", "2", HARBORGUARD_URL="http://127.0.0.1:1")

    assert (code, out) == (3, "")
    assert "no connection" in errors


def test_a_way_there_that_is_full_of_faults(served: Served, pipeline: Pipeline) -> None:
    """One scan comes of it all the same, and the whole of its findings."""
    with gatewaying(served.url) as gateway:
        gateway.misbehave("/upload", answering(503, retry_after="0"), times=1)
        gateway.misbehave("/api/scans", answering(502, b"<html>Bad Gateway</html>"), times=2)  # the scan is there
        gateway.misbehave("/status", answering(429, retry_after="1"), times=1)
        gateway.misbehave("/status", answering(200, b"<html>maintenance</html>"), times=2)
        gateway.misbehave("/findings", cut_short, times=1)
        code, out, errors = pipeline.scan(
            str(served.archive("risky")), *JUDGED, "--format", "json", HARBORGUARD_URL=gateway.url
        )

        triggers = [request for request in gateway.asked("/api/scans") if request.method == "POST"]
    assert code == 2, errors
    assert len(json.loads(out)["findings"]) == 2
    assert len(triggers) == 3
    assert len({request.headers["idempotency-key"] for request in triggers}) == 1


def test_a_server_that_says_nothing(served: Served, pipeline: Pipeline) -> None:
    with gatewaying(served.url) as gateway:
        gateway.misbehave("/status", hanging)
        code, out, errors = pipeline.scan(
            str(served.archive("clean")), *JUDGED, "--timeout", "4", HARBORGUARD_URL=gateway.url
        )

    assert (code, out) == (3, "")
    assert "--resume scn-" in errors


def test_what_is_no_harborguard(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.client.api.LONGEST_PAUSE_SECONDS", 0.01)
    with gatewaying() as gateway:
        gateway.misbehave("/", answering(200, b"<html>welcome</html>"))
        code, out, errors = pipeline.scan("acme/api:1", HARBORGUARD_URL=gateway.url)

    assert (code, out) == (1, "")
    assert "no answer of HarborGuard" in errors
