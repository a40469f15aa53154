"""Formats of reports that were made elsewhere, told by what their documents begin with. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from schema.kernel.errors import HarborGuardError, bad_request

HEAD = 16 * 1024  # bytes of a document that are looked at while it arrives
# One token of JSON: a string, a mark, or what is none of both.
_TOKEN = re.compile(rb'\s*+(?:"((?:[^"\\]|\\.)*+)"|([{}\[\]:,])|[^\s"{}\[\]:,]++)', re.DOTALL)


class ReportFormat(StrEnum):
    """Published, so append-only."""

    TRIVY = "trivy"
    GRYPE = "grype"
    SYFT = "syft"
    OSV = "osv"
    SARIF = "sarif"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    SENSOR = "sensor"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    ReportFormat.TRIVY: "Trivy JSON",
    ReportFormat.GRYPE: "Grype JSON",
    ReportFormat.SYFT: "Syft JSON",
    ReportFormat.OSV: "OSV-Scanner JSON",
    ReportFormat.SARIF: "SARIF",
    ReportFormat.CYCLONEDX: "CycloneDX JSON",
    ReportFormat.SPDX: "SPDX JSON",
    ReportFormat.SENSOR: "a sensor's envelope",
}
# Members by which a document's own schema tells it from the others; those that name their format come first.
_MARKS = (
    (ReportFormat.CYCLONEDX, frozenset({"bomFormat"})),
    (ReportFormat.SPDX, frozenset({"spdxVersion", "SPDXID"})),
    (ReportFormat.SARIF, frozenset({"runs"})),
    (ReportFormat.SENSOR, frozenset({"sensor", "aggregates"})),
    (ReportFormat.TRIVY, frozenset({"SchemaVersion", "ArtifactName", "ArtifactType"})),
    (ReportFormat.SYFT, frozenset({"artifacts", "artifactRelationships"})),
    (ReportFormat.GRYPE, frozenset({"matches"})),
    (ReportFormat.OSV, frozenset({"results"})),
)
_SCHEMAS = {"cyclonedx": ReportFormat.CYCLONEDX, "spdx": ReportFormat.SPDX, "sarif": ReportFormat.SARIF}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSource:
    """Where a scan of a report finds it, and what its sender says it is. `str` of it is kept as the scan's source."""

    upload_id: str
    format: ReportFormat | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        upload_id, _, stated = text.partition(" ")
        return cls(upload_id=upload_id, format=ReportFormat(stated) if stated else None)

    def __str__(self) -> str:
        return f"{self.upload_id} {self.format or ''}".strip()


def recognise(document: Mapping[str, Any]) -> ReportFormat | None:
    """The format of a document, or of what is known of its members; None for one that is none of ours."""
    for format_, marks in _MARKS:
        if not marks.isdisjoint(document):
            return format_
    stated = document.get("$schema")
    named = (format_ for name, format_ in _SCHEMAS.items() if isinstance(stated, str) and name in stated.lower())
    return next(named, None)


def members(head: bytes) -> dict[str, str]:
    """The members of the object a document begins with, as far as the beginning goes: "" for what is no text.

    Raises ValueError for what does not begin like an object.
    """
    tokens = _tokens(head)
    if next(tokens, "") != "{":
        raise ValueError("must be a JSON object")
    found: dict[str, str] = {}
    depth, name, before = 1, None, ""
    for piece in tokens:
        if piece in {"{", "["}:
            depth += 1
        elif piece in {"}", "]"}:
            depth -= 1
        elif depth == 1 and piece == ":" and before.startswith('"'):
            name = before[1:]
            found[name] = ""
        elif depth == 1 and before == ":" and name is not None and piece.startswith('"'):
            found[name] = piece[1:]
        before = piece
    return found


def _tokens(head: bytes) -> Iterator[str]:
    """Strings begin with a quotation mark, and keep their escapes. Ends where the beginning is cut off within one."""
    at = 0
    while match := _TOKEN.match(head, at):
        text, mark = match.groups()
        yield f'"{text.decode(errors="replace")}' if text is not None else (mark or b"?").decode()
        at = match.end()


async def recognised(chunks: AsyncIterator[bytes], stated: ReportFormat | None) -> AsyncIterator[bytes]:
    """The same document as it arrives, let through once its beginning has been seen to be a report.

    Raises BAD_REQUEST for one of no known format, or of another than stated. What the beginning does not tell is left to
    whoever reads all of it.
    """
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD:
            break
    _check(head, stated, is_all=len(head) < HEAD)
    yield head
    async for chunk in chunks:
        yield chunk


def _check(head: bytes, stated: ReportFormat | None, *, is_all: bool) -> None:
    try:
        found = recognise(members(head[:HEAD]))
    except ValueError as error:
        raise bad_request(f"The report {error}") from None
    if found is None and is_all:
        raise unknown_format()
    if found is not None and stated is not None and found is not stated:
        raise bad_request(
            f"The report is {found.label}, not {stated.label}; leave the format out, or send the right file"
        )


def unknown_format() -> HarborGuardError:
    known = ", ".join(format_.label for format_ in ReportFormat)
    return bad_request(f"The report is of no format that is read here: {known}")
