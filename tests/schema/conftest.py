"""Fixtures of the domain's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schema.kernel import secrets
from schema.kernel.database import Database
from tests.identity import CHEAP_HASHER, Identity


@pytest.fixture
async def identity(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Identity]:
    monkeypatch.setattr(secrets, "_passwords", CHEAP_HASHER)
    monkeypatch.setattr(secrets, "_NOBODY", CHEAP_HASHER.hash("nobody's"))
    identity = Identity(database)
    yield identity
    await identity.services.background.settle()
