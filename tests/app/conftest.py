"""Fixtures of the application's tests."""

from __future__ import annotations

from tests.app.site import client, site, tenant
from tests.identity import identity

__all__ = ["client", "identity", "site", "tenant"]
