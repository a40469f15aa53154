"""Deployments that live as long as a module, because starting one takes longer than most of what is done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.deployment import Deployment
from tests.servers import Server, create_database, postgres_server, redis_server


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Server]:
    """Not the one other tests use: this one is stopped and killed."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("embedded"))
    asyncio.run(deployment.prepare())
    yield deployment
    deployment.down()


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory, own_postgres: Server, own_redis: Server) -> Iterator[Deployment]:
    url = asyncio.run(create_database(own_postgres.url, "harborguard"))
    deployment = Deployment(tmp_path_factory.mktemp("scale"), url, own_redis.url)
    asyncio.run(deployment.prepare())
    yield deployment
    deployment.down()
