"""A summary in Markdown (GitHub's dialect) for a job's page or a comment on a merge request: the verdict and the worst.

Every text that comes from an image or an advisory stands in a code span, where neither Markdown, HTML, a link nor a
mention of somebody means anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from schema.documents.contents import ScanContents
from schema.kernel.clock import iso_utc
from schema.vulnerabilities.records import Severity

MEDIA_TYPE = "text/markdown"

MAX_ROWS = 100  # of a table; a comment holds 65,536 characters
MAX_CELL = 120  # characters

_NOT_PRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_LOOKALIKES = str.maketrans("`|", "'¦")


def render(contents: ScanContents) -> bytes:
    return ("\n".join(_lines(contents)) + "\n").encode()


def _lines(contents: ScanContents) -> Iterator[str]:
    counts = contents.counts
    yield f"# {_code(contents.reference)}"
    yield ""
    yield f"**Grade {contents.grade}**" if contents.grade else f"**No grade**: {_code(contents.grade_reason or '-')}"
    yield ""
    if contents.partial:
        yield "Some engine failed: the scan is partial."
        yield ""
    yield from _table(
        [severity.value.capitalize() for severity in Severity] + ["Packages", "Risk"],
        [
            [
                *(str(getattr(counts, severity.value.lower())) for severity in Severity),
                str(len(contents.packages)),
                "-" if contents.risk_score is None else str(contents.risk_score),
            ]
        ],
    )
    yield from _section(
        "Vulnerabilities",
        ("Severity", "Id", "Package", "Installed", "Fixed in", "What", "Triage"),
        [
            (
                finding.severity.value,
                _code(finding.flaw),
                _code(finding.package_name),
                _code(finding.package_version),
                _code(", ".join(finding.fixed_versions)),
                _code(finding.title),
                finding.status.value,
            )
            for finding in contents.findings[:MAX_ROWS]
        ],
        total=len(contents.findings),
    )
    yield from _section(
        "Misconfigurations",
        ("Level", "Check", "What", "Where", "What to do"),
        [
            (found.level.value, _code(found.check_id), _code(found.title), _code(found.path), _code(found.remediation))
            for found in contents.misconfigurations[:MAX_ROWS]
        ],
        total=len(contents.misconfigurations),
    )
    yield from _section(
        "Secrets",
        ("Severity", "What", "Where", "Secret", "Deleted"),
        [
            (
                secret.severity.value,
                _code(secret.title),
                _code(secret.place or secret.path),
                _code(secret.masked),
                "yes, and still in the image" if secret.deleted else "no",
            )
            for secret in contents.secrets[:MAX_ROWS]
        ],
        total=len(contents.secrets),
    )
    yield ""
    providers = sorted({run.provider for run in contents.engines if run.provider})
    digest = f" ({_code(contents.digest)})" if contents.digest else ""
    yield f"Scanned {iso_utc(contents.scanned_at)}{digest} by {_code(', '.join(providers))}"


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, total: int) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield f"## {title}"
    yield ""
    yield from _table(header, rows)
    if total > len(rows):
        yield ""
        yield f"The {len(rows)} of the highest priority of {total}."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _code(text: str) -> str:
    """A code span of one line; "-" for nothing. Parsers disagree on how `|` is escaped within one, so it is replaced."""
    text = _NOT_PRINTABLE.sub(" ", text).strip().translate(_LOOKALIKES)
    if len(text) > MAX_CELL:
        text = text[: MAX_CELL - 1] + "…"
    return f"`{text}`" if text else "-"
