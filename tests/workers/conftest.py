"""Fixtures of the workers' tests."""

from __future__ import annotations

from tests.workers.workshop import workshop

__all__ = ["workshop"]
