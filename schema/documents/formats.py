"""The formats a scan can be taken out in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.documents import cyclonedx, gitlab, junit, markdown, plain, sarif, spdx
from schema.documents.contents import ScanContents


class DocumentFormat(StrEnum):
    """Published, so append-only."""

    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    SARIF = "sarif"
    GITLAB = "gitlab"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Renderer:
    """How a format is written, what it is called in HTTP, and how its files end. `tells_flaws`: it holds findings."""

    render: Callable[[ScanContents], bytes]
    media_type: str
    suffix: str
    tells_flaws: bool = True


# Suffixes are those by which tools tell the formats.
RENDERERS: Mapping[DocumentFormat, Renderer] = {
    DocumentFormat.CYCLONEDX: Renderer(cyclonedx.render, cyclonedx.MEDIA_TYPE, ".cdx.json"),
    DocumentFormat.SPDX: Renderer(spdx.render, spdx.MEDIA_TYPE, ".spdx.json", tells_flaws=False),
    DocumentFormat.SARIF: Renderer(sarif.render, sarif.MEDIA_TYPE, ".sarif"),
    DocumentFormat.GITLAB: Renderer(gitlab.render, gitlab.MEDIA_TYPE, ".gitlab.json"),
    DocumentFormat.JUNIT: Renderer(junit.render, junit.MEDIA_TYPE, ".junit.xml"),
    DocumentFormat.MARKDOWN: Renderer(markdown.render, markdown.MEDIA_TYPE, ".md"),
    DocumentFormat.JSON: Renderer(plain.render, plain.MEDIA_TYPE, ".json"),
}
