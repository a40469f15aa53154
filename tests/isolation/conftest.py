"""Fixtures of the isolation tests."""

from __future__ import annotations

from tests.app.site import site
from tests.isolation.estate import estates

__all__ = ["estates", "site"]
