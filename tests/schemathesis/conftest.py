from __future__ import annotations

from pathlib import Path

import pytest
import schemathesis

from tests.schemathesis.served import Served


@pytest.fixture
def served(sqlite_template: Path, tmp_path: Path) -> Served:
    served = Served(sqlite_template, tmp_path)
    schemathesis.openapi.from_asgi("/openapi.json", served)  # the first request starts it
    return served
