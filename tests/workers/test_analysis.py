from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories import images
from workers import analysis
from workers.oci.limits import ImageLimits

LIMITS = asdict(ImageLimits())


def ask(monkeypatch: pytest.MonkeyPatch, request: dict[str, Any]) -> tuple[int, Any]:
    """The exit code and the one document on standard output."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(orjson.dumps(request))))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=printed))
    return analysis.main(), orjson.loads(printed.getvalue())


def test_an_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = images.layer({"node_modules/a/package.json": b'{"name":"a","version":"1.0.0"}'})
    layout = images.write_layout(tmp_path, images.image(layer))
    code, document = ask(monkeypatch, {"examine": {"layout": str(layout), "questions": {}}, "limits": LIMITS})
    assert code == 0
    assert [(package["type"], package["purl"]) for package in document["inventory"]["packages"]] == [
        ("npm", "pkg:npm/a@1.0.0")
    ]


def test_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = images.write_layout(tmp_path / "source", {"example.org/shop:1": images.image(images.layer({}))})
    asked = {"source": str(source), "destination": str(tmp_path / "to"), "platform": None, "reference": None}
    code, document = ask(monkeypatch, {"unpack": asked, "limits": LIMITS})
    assert (code, document) == (0, {"names": ["example.org/shop:1"]})


def test_an_operators_limits_are_those_of_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = images.write_layout(tmp_path, images.image(images.layer({"a": b""}), images.layer({"b": b""})))
    code, document = ask(
        monkeypatch, {"examine": {"layout": str(layout), "questions": {}}, "limits": {**LIMITS, "layers": 1}}
    )
    assert (code, document["code"]) == (analysis.FAILED, "LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("error", "document"),
    [
        (
            ScanFailure(FailureCode.UNSAFE_ARCHIVE, "a way out"),
            {"code": "UNSAFE_ARCHIVE", "message": "a way out"},
        ),
        (
            MemoryError(),
            {"code": "LIMIT_EXCEEDED", "message": "Reading the image takes more memory than is allowed"},
        ),
    ],
)
def test_what_an_image_can_cause_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, document: dict[str, str]
) -> None:
    def fail(_request: object) -> None:
        raise error

    monkeypatch.setattr(analysis, "answer", fail)
    assert ask(monkeypatch, {}) == (analysis.FAILED, document)


def test_start_up_imports_only_what_reading_needs() -> None:
    code = """
import sys
import workers.analysis, workers.examination, workers.oci.archives
print(*{name.partition(".")[0] for name in sys.modules})
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    loaded = subprocess.check_output([sys.executable, "-P", "-S", "-c", code], env=environment, text=True).split()
    assert "orjson" in loaded
    assert not {"asyncio", "httpx", "pydantic", "sqlalchemy", "sqlmodel", "strawberry", "structlog"} & set(loaded)
