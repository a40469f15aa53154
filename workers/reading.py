"""Reading an image in a disposable child process.

Images are hostile input. A crash, a runaway or an exhausted memory limit costs one scan of one tenant, and the event loop
of the worker is never busy with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from schema.dependencies.records import Inventory, LayerRecord, OperatingSystem, PackageRecord, PackageType
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits
from workers.sandbox import SandboxFailure, SandboxLimits, run

_ROOT = Path(__file__).parent.parent


async def inventory_image(layout: Path, *, limits: ImageLimits, sandbox: SandboxLimits) -> Inventory:
    """Packages and layers of the image in a layout. Raises ScanFailure."""
    answer = await _ask({"command": "inventory", "layout": str(layout)}, limits, sandbox)
    return _read_inventory(answer)


async def unpack_archive(
    source: Path,
    destination: Path,
    *,
    platform: str | None,
    limits: ImageLimits,
    sandbox: SandboxLimits,
    reference: str | None = None,
) -> Image:
    """Brings a layout directory or an archive into a verified layout. Raises ScanFailure."""
    request = {
        "command": "unpack",
        "source": str(source),
        "destination": str(destination),
        "platform": platform,
        "reference": reference,
    }
    await _ask(request, limits, sandbox)
    return read_image(destination, limits)


async def _ask(request: Mapping[str, Any], limits: ImageLimits, sandbox: SandboxLimits) -> Mapping[str, Any]:
    stdin = orjson.dumps({**request, "limits": asdict(limits)})
    # More arenas than threads that compute would only make the memory limit bite early.
    environment = {"PYTHONPATH": str(_ROOT), "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-P", "-m", "workers.analysis"]
    try:
        completed = await run(argv, limits=sandbox, cwd=Path("/"), env=environment, stdin=stdin)
    except SandboxFailure as failure:
        raise ScanFailure(FailureCode.LIMIT_EXCEEDED, f"Reading the image was {failure.message}") from None
    try:
        answer: Mapping[str, Any] = orjson.loads(completed.stdout)
    except orjson.JSONDecodeError:
        reason = f"Reading the image ended without an answer (exit code {completed.exit_code})"
        if completed.exit_code < 0:
            reason = f"Reading the image was ended by signal {-completed.exit_code}, most likely a memory or CPU limit"
            raise ScanFailure(FailureCode.LIMIT_EXCEEDED, reason) from None
        raise RuntimeError(f"{reason}: {completed.stderr[-2000:]}") from None
    if "failure" in answer:
        raise ScanFailure(FailureCode(answer["failure"]["code"]), answer["failure"]["message"])
    return answer


def _read_inventory(answer: Mapping[str, Any]) -> Inventory:
    inventory = answer["inventory"]
    system = inventory["operating_system"]
    return Inventory(
        operating_system=None if system is None else OperatingSystem(**system),
        packages=tuple(
            PackageRecord(
                **{
                    **package,
                    "type": PackageType(package["type"]),
                    "licenses": tuple(package["licenses"]),
                }
            )
            for package in inventory["packages"]
        ),
        layers=tuple(LayerRecord(**layer) for layer in inventory["layers"]),
        warnings=tuple(inventory["warnings"]),
    )
