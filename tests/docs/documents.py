"""The documents of the project and the code blocks in them.

The info string of a block is its language and what the tests need to know about it:

- `sh` runs in one bash session per document, `python` in the same session, in document order.
- `sh expect=NOT_FOUND` shows an error: it may fail, and its output must hold that code.
- `sh no-run` is not run; its first line is a comment that says why.
- `graphql` is checked against the schema, `json`, `toml` and `yaml` are parsed; `text` is for reading.
- each `harborguard …` in `sh`, `yaml` and `groovy` is taken by the real parser (test_commands.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `line` is that of its first fence, from 1."""

    document: Path
    line: int
    language: str
    options: tuple[str, ...]
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in {"sh", "python"} and "no-run" not in self.options

    @property
    def expected_error(self) -> str | None:
        return next((option.removeprefix("expect=") for option in self.options if option.startswith("expect=")), None)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text()
    for match in _FENCE.finditer(text):
        language, *options = match["info"].split() or [""]
        yield Block(
            document=document,
            line=text.count("\n", 0, match.start()) + 1,
            language=language,
            options=tuple(options),
            text=match["text"],
        )


def all_blocks() -> list[Block]:
    return [block for document in documents() for block in blocks(document)]
