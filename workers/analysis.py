"""The child process that reads an image: `python -m workers.analysis`, one JSON request in, one JSON answer out.

Start-up is part of every scan, so only what reading needs is imported. See reading.py for the other end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import ImageLimits


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    limits = ImageLimits(**request["limits"])
    if request["command"] == "inventory":
        from workers.inventory.inventory import take_inventory, wanted  # noqa: PLC0415 -- each request needs one of the two
        from workers.oci.layers import merge_layers  # noqa: PLC0415

        merged = merge_layers(Path(request["layout"]), wanted=wanted, limits=limits)
        return {"inventory": take_inventory(merged)}
    from workers.oci.archives import open_source  # noqa: PLC0415

    open_source(
        Path(request["source"]),
        Path(request["destination"]),
        platform=request["platform"],
        limits=limits,
        reference=request["reference"],
    )
    return {}


def main() -> None:
    """The child. Whatever happens that an image can cause is an answer; only a defect of ours is a traceback."""
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = _answer(request)
    except ScanFailure as failure:
        answer = {"failure": {"code": failure.code.value, "message": failure.message}}
    except MemoryError:
        message = "Reading the image needs more memory than is allowed"
        answer = {"failure": {"code": FailureCode.LIMIT_EXCEEDED.value, "message": message}}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    main()
