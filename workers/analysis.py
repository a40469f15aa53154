"""The child process that reads an image: `python -m workers.analysis`, one JSON request in, one JSON answer out.

Start-up is part of every scan, so only what reading needs is imported. See reading.py for the other end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import ImageLimits

FAILED = 3  # exit code: the answer is a Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A ScanFailure as an answer."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """The image is in its layout; `names` are the references its archive states, which the layout does not keep."""

    names: tuple[str, ...]


def answer(request: Mapping[str, Any]) -> object:
    """What is asked for under "examine" (an Examination), "unpack" (an Unpacked), "report" (an EngineReport) or "import" (an
    ImportedReport).

    Raises ScanFailure.
    """
    limits = ImageLimits(**request["limits"])
    if "examine" in request:
        from workers.examination import Questions, examine  # noqa: PLC0415 -- a request needs one of these

        asked = request["examine"]
        return examine(Path(asked["layout"]), Questions(**asked["questions"]), limits)
    if "report" in request:
        from workers.engines.reading import read_output  # noqa: PLC0415

        return read_output(request["report"])
    if "import" in request:
        from workers.imports.reading import read_import  # noqa: PLC0415

        return read_import(request["import"])
    from workers.oci.archives import open_source  # noqa: PLC0415

    asked = request["unpack"]
    image = open_source(
        Path(asked["source"]),
        Path(asked["destination"]),
        platform=asked["platform"],
        limits=limits,
        reference=asked["reference"],
    )
    return Unpacked(names=image.names)


def main() -> int:
    """Whatever an image can cause is an answer; only a defect of ours is a traceback, on standard error."""
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        document: object = answer(request)
        data, code = orjson.dumps(document, default=_printed), 0
    except ScanFailure as failure:
        data, code = orjson.dumps(Failure(code=failure.code, message=failure.message)), FAILED
    except MemoryError:
        message = f"Reading {_subject(request)} takes more memory than is allowed"
        data, code = orjson.dumps(Failure(code=FailureCode.LIMIT_EXCEEDED, message=message)), FAILED
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return code


def _printed(output: object) -> str:
    """What a tool printed, which is text."""
    assert isinstance(output, bytes)
    return output.decode(errors="replace")


def _subject(request: Mapping[str, Any]) -> str:
    return "it" if "report" in request else "the report" if "import" in request else "the image"


if __name__ == "__main__":
    sys.exit(main())
