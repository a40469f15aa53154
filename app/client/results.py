"""What a scan found, in the form that was asked for, on stdout or in a file."""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
from rich.console import Console

from app.client.answers import Finding, Scan
from app.client.policy import Policy, Verdict
from app.presentation import print_scan

FILE_COLUMNS = 160


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    GITLAB = "gitlab"
    JUNIT = "junit"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A scan that has ended, everything it found, and what the policy makes of it."""

    scan: Scan
    findings: Sequence[Finding]
    policy: Policy
    verdict: Verdict


def as_json(result: Result) -> bytes:
    """`scan` and `findings` as REST shows them, `policy` and `verdict` as the command line judged."""
    policy, verdict = result.policy, result.verdict
    document = {
        "scan": result.scan.model_dump(by_alias=True),
        "findings": [finding.model_dump(by_alias=True) for finding in result.findings],
        "policy": {
            "failOn": policy.fail_on,
            "failOnGrade": policy.fail_on_grade,
            "onlyFixed": policy.only_fixed,
            "newOnly": policy.new_only,
            "ignored": policy.ignored,
            "allowUngraded": policy.allow_ungraded,
        },
        "verdict": {
            "exitCode": int(verdict.code),
            "reasons": verdict.reasons,
            "violations": [finding.id for finding in verdict.violations],
        },
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_table(result: Result) -> bytes:
    text = io.StringIO()
    print_table(result, Console(file=text, width=FILE_COLUMNS, color_system=None))
    return text.getvalue().encode()


def print_table(result: Result, out: Console) -> None:
    """With a policy the findings against it, if there are any; else the worst."""
    print_scan(result.scan, result.verdict.violations or result.findings, out)


def write(content: bytes, output: Path | None) -> None:
    """On stdout, or as a file that is whole from the moment it is there."""
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(f".{output.name[:200]}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(output)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def is_place(output: Path) -> bool:
    """Whether a file can be written there; asked before the scan, because afterwards is late."""
    directory = output.absolute().parent
    return not output.is_dir() and directory.is_dir() and os.access(directory, os.W_OK)
