"""Fixtures of the domain's tests."""

from __future__ import annotations

from tests.identity import identity

__all__ = ["identity"]
