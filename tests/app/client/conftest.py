"""A server that lives as long as a module, and pipelines that use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.client.served import Pipeline, Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    asyncio.run(served.prepare())
    served.start()
    try:
        served.until_ready()
        yield served
    finally:
        served.stop()


@pytest.fixture
def pipeline(served: Served, tmp_path: Path) -> Pipeline:
    """Knows a server."""
    known = {"PATH", "PYTHONPATH"}
    environment = {name: value for name, value in served.environment.items() if name in known}
    environment |= {"HARBORGUARD_URL": served.url, "HARBORGUARD_API_KEY": served.new_key(), "COLUMNS": "200"}
    return Pipeline(tmp_path, environment)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The same data, and nobody who serves it."""
    laptop = Served(tmp_path_factory.mktemp("laptop"))
    asyncio.run(laptop.prepare())
    return laptop


@pytest.fixture
def alone(laptop: Served, tmp_path: Path) -> Pipeline:
    """Knows no server."""
    return Pipeline(tmp_path, {**laptop.environment, "COLUMNS": "200"})
