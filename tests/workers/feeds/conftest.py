"""A server of feeds, and the real client that may reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import IPv4Network

import pytest

from app.outgoing import OutgoingClient, OutgoingPolicy
from tests.simulators.feeds import FeedServer, feed_server


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with feed_server() as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[OutgoingClient]:
    policy = OutgoingPolicy(allowed_networks=(IPv4Network("127.0.0.1/32"),), silence_seconds=1.0)
    async with OutgoingClient(policy) as client:
        yield client
