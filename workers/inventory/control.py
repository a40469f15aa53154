"""Text databases as package managers write them: bounded, and never a reason to fail a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MAX_STANZAS = 200_000
MAX_FIELD = 4_000  # characters kept of one value


def text_of(content: bytes) -> str:
    return content.decode("utf-8", errors="replace").replace("\x00", "")


def stanzas(text: str) -> Iterator[Mapping[str, str]]:
    """The stanzas of a deb-control or METADATA file, field names in lower case.

    A line that begins with a space continues the field before it. A field that repeats (Classifier) is joined by newlines.
    """
    fields: dict[str, str] = {}
    last, count = "", 0
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
                count += 1
                fields, last = {}, ""
                if count == MAX_STANZAS:
                    return
        elif line[0] in " \t":
            if last and len(fields[last]) < MAX_FIELD:
                fields[last] += "\n" + line.strip()
        else:
            name, colon, value = line.partition(":")
            if not colon:
                continue
            last = name.strip().lower()
            value = value.strip()[:MAX_FIELD]
            fields[last] = f"{fields[last]}\n{value}" if last in fields else value
    if fields:
        yield fields
