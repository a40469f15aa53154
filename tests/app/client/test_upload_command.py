"""`harborguard upload` against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.app.client.served import OPENSSL, Pipeline, Served
from tests.processes import PATIENCE
from tests.simulators.gateway import gatewaying
from tests.simulators.registry import answering, hanging
from tests.workers.imports.samples import sbom

IMAGE = "ghcr.io/acme/api:1.4"
RISKY = "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12&upstream=openssl"


def given(pipeline: Pipeline, document: Any = None) -> str:
    path = Path(pipeline.directory) / "report.json"
    path.write_bytes(orjson.dumps(sbom(RISKY) if document is None else document))
    return path.name


def upload(pipeline: Pipeline, *arguments: str, content: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "upload", *arguments],
        cwd=pipeline.directory,
        env={**pipeline.environment, **environment},
        input=content,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("stated", [(), ("--cyclonedx",), ("--format", "cyclonedx")])
def test_waiting_prints_what_it_holds(pipeline: Pipeline, stated: tuple[str, ...]) -> None:
    code, out, errors = upload(pipeline, given(pipeline), "--image", IMAGE, "--wait", *stated)

    assert code == 0, errors
    result = json.loads(out)
    assert (result["scan"]["image"], result["scan"]["compliance"]) == (IMAGE, "D")
    assert [finding["cveId"] for finding in result["findings"]] == [OPENSSL]
    assert "Sending" in errors


def test_without_waiting_it_is_queued(pipeline: Pipeline) -> None:
    code, out, errors = upload(pipeline, given(pipeline), "--image", IMAGE, "-q")

    answer = json.loads(out)
    assert (code, errors) == (0, "")
    assert answer["status"] in {"QUEUED", "IN_PROGRESS"}  # a worker may be quick
    assert answer["statusUrl"] == f"/api/scans/{answer['id']}/status"


def test_a_report_on_stdin(pipeline: Pipeline) -> None:
    code, out, errors = upload(pipeline, "-", "--image", IMAGE, "--wait", content=orjson.dumps(sbom(RISKY)))

    assert code == 0, errors
    assert json.loads(out)["scan"]["packageCount"] == 1


@pytest.mark.parametrize(
    ("document", "arguments", "said"),
    [
        ({"what": 1}, (), "of no format that is read here"),
        (None, ("--trivy",), "is CycloneDX JSON, not Trivy JSON"),
        ({"bomFormat": "CycloneDX", "specVersion": "9"}, ("--wait",), "REPORT_INVALID"),
        (None, ("--trivy", "--spdx"), "one format"),
        (None, ("--digest", "x"), "sha256:"),
        (None, ("--server", ""), "HARBORGUARD_URL"),
        (None, ("--api-key", "hg_ak_" + "0" * 48), "UNAUTHORIZED"),
    ],
)
def test_what_goes_wrong_is_one_and_says_why(
    pipeline: Pipeline, document: Any, arguments: tuple[str, ...], said: str
) -> None:
    environment = {"HARBORGUARD_URL": ""} if arguments[:1] == ("--server",) else {}

    code, _, errors = upload(
        pipeline, given(pipeline, document), "--image", IMAGE, *arguments, content=b"", **environment
    )

    assert (code, said in errors) == (1, True), errors


def test_a_file_that_is_not_there(pipeline: Pipeline) -> None:
    code, out, errors = upload(pipeline, "absent.json", "--image", IMAGE)

    assert (code, out) == (1, "")
    assert "no such file" in errors


def test_a_server_that_does_not_answer_is_three(pipeline: Pipeline, served: Served) -> None:
    with gatewaying(served.url) as gateway:
        gateway.misbehave("/", hanging)
        code, _, errors = upload(pipeline, given(pipeline), "--image", IMAGE, "--server", gateway.url, "--timeout", "1")

    assert (code, "did not take the report" in errors) == (3, True), errors


def test_a_server_that_is_busy_is_asked_again(pipeline: Pipeline, served: Served) -> None:
    with gatewaying(served.url) as gateway:
        gateway.misbehave("/import", answering(503, retry_after="0"), times=2)
        code, out, errors = upload(pipeline, given(pipeline), "--image", IMAGE, "--server", gateway.url)

    assert (code, json.loads(out)["status"]) == (0, "QUEUED"), errors
