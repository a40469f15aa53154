"""An application of test rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.compat_rest.notebook import Notebook


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
async def client(notebook: Notebook) -> AsyncIterator[httpx.AsyncClient]:
    async with notebook.client() as client:
        yield client
