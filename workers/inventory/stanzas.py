"""Text databases of `Name: value` lines, as package managers write them: deb822, core metadata, apk.

Whatever is in them is read as far as it goes: a line that is no field is passed over, a value that is too long is cut.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

from workers.inventory.notes import Notes
from workers.oci.files import ImageFile

_VALUE = 8192  # bytes kept of one value, its continuation lines included
_LINE = 64 * 1024  # bytes of a line that are looked at
_HEAD = 1024**2  # bytes of a file of headers and text that are looked at for headers
_EMPTY_LINE = re.compile(rb"^\r?\n", re.MULTILINE)


def read_database(
    file: ImageFile, fields: Mapping[bytes, str], notes: Notes, *, folded: bool = True
) -> Iterator[dict[str, str]]:
    """The stanzas of a file that should hold some; noted if it holds none."""
    empty = True
    for stanza in read_stanzas(file.content, fields, folded=folded):
        empty = False
        yield stanza
    if empty and file.content.strip():
        notes.add(file.path, "is not a package database that can be read")


def read_head(content: bytes, fields: Mapping[bytes, str]) -> dict[str, str]:
    """The wanted fields above the first empty line. What is below is text for people, whatever it looks like."""
    head = content[:_HEAD]
    end = _EMPTY_LINE.search(head)
    return next(read_stanzas(head[: end.start()] if end else head, fields), {})


def read_stanzas(content: bytes, fields: Mapping[bytes, str], *, folded: bool = True) -> Iterator[dict[str, str]]:
    """Each stanza's wanted fields. `fields` maps the name in the file to the key wanted, in lower case when `folded`.

    An empty line ends a stanza. A line that begins with a space continues the field above it, and a field may repeat
    (Classifier): both are joined with line feeds. A stanza without any wanted field is left out.
    """
    stanza: dict[str, bytes] = {}
    key: str | None = None
    for whole in io.BytesIO(content):  # line by line, because a list of them is many times the size of the file
        line = whole[:_LINE]  # which may be all of the file, and is copied by what comes next
        if line in {b"\n", b"\r\n"}:
            if stanza:
                yield _decoded(stanza)
            stanza, key = {}, None
        elif line[0] in b" \t":
            if key is not None:
                stanza[key] = _joined(stanza[key], line)
        else:
            name, colon, value = line.partition(b":")
            key = fields.get(name.strip().lower() if folded else name) if colon else None
            if key is not None:
                stanza[key] = _joined(stanza[key], value) if key in stanza else value.strip()[:_VALUE]
    if stanza:
        yield _decoded(stanza)


def _joined(value: bytes, line: bytes) -> bytes:
    return value if len(value) >= _VALUE else b"\n".join((value, line.strip()))[:_VALUE]


def _decoded(stanza: Mapping[str, bytes]) -> dict[str, str]:
    return {key: value.decode("utf-8", "replace") for key, value in stanza.items()}
