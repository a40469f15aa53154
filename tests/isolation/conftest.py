"""Fixtures of the isolation tests."""

from __future__ import annotations

from tests.app.site import site
from tests.isolation.furnished import database_url, estates, furnished, furnished_postgresql, furnished_sqlite

__all__ = ["database_url", "estates", "furnished", "furnished_postgresql", "furnished_sqlite", "site"]
