"""The tour, all of it: a real image of small wheels, a real server, REST and GraphQL, and nothing left running."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from app.demo import tour as demo
from app.demo.description import load_description
from app.demo.image import build_demo_image
from tests.processes import children, is_alive

from .wheelhouse import with_small_wheels


async def test_the_tour_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description, fetch = with_small_wheels(load_description())
    monkeypatch.setattr(demo, "build_demo_image", partial(build_demo_image, description=description, fetch=fetch))
    before = set(children(os.getpid()))
    printed = io.StringIO()

    await demo.tour(tmp_path, Console(file=printed, width=200))

    text = printed.getvalue()
    assert "agrees with REST" in text
    assert "CVE-" in text
    assert not any(is_alive(pid) for pid in set(children(os.getpid())) - before)
