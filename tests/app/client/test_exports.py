"""Formats that the server writes arrive as they are, on stdout and in a file, whatever the verdict."""

from __future__ import annotations

import json

import pytest

from tests.app.client.served import OPENSSL, Pipeline, Served


@pytest.mark.parametrize("form", ["sarif", "cyclonedx", "gitlab", "junit", "markdown"])
def test_an_export_of_what_was_found(served: Served, pipeline: Pipeline, form: str) -> None:
    scanned = (str(served.archive("risky")), "--engine", "trivy", "--wait", "--fail-on", "high")
    code, out, errors = pipeline.scan(*scanned, "--format", form)
    assert code == 2, errors
    assert OPENSSL in out
    if form not in {"junit", "markdown"}:
        assert isinstance(json.loads(out), dict)


def test_an_export_without_a_server(laptop: Served, alone: Pipeline) -> None:
    code, _, errors = alone.scan(
        str(laptop.archive("risky")), "--engine", "trivy", "--format", "spdx", "-o", "bom.json"
    )
    assert code == 0, errors
    assert json.loads((alone.directory / "bom.json").read_text())["spdxVersion"] == "SPDX-2.3"
