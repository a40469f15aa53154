"""What an inventory could not read, in words for a person: each thing once, and not without end."""

from __future__ import annotations

_LISTED = 50
_PATH = 300  # characters of a path that are shown


class Notes:
    """Collects warnings. An image may hold a million malformed files; the first fifty say what is wrong."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._left_out = 0
        self.unread: list[str] = []  # databases of packages that could not be read to their end

    def add(self, path: str, problem: str) -> None:
        line = f"{printable(path)[:_PATH]}: {problem}"
        if line in self._lines:
            return
        if len(self._lines) < _LISTED:
            self._lines[line] = None
        else:
            self._left_out += 1

    def lines(self) -> tuple[str, ...]:
        more = (f"{self._left_out} more problems of this kind",) if self._left_out else ()
        return (*self._lines, *more)


def printable(text: str) -> str:
    """The text on one line, whatever was in it: names in an image may hold line feeds and terminal commands."""
    return (
        text
        if text.isprintable()
        else "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    )
