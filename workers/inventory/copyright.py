"""The licences a Debian copyright file names, as SPDX identifiers.

Machine-readable files (the copyright format 1.0, called DEP-5 while it was a draft) name them. Of the others, which are
prose, two things can be relied on: that the common licences are referred to by their file in /usr/share/common-licenses
(Debian policy, section 12.5), and that all others are there in full, so that a few sentences tell the well-known ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.inventory.licenses import spdx_license

_MACHINE_READABLE = re.compile(
    rb"^Format(?:-Specification)?:.*(?:copyright-format|dep-?5)", re.IGNORECASE | re.MULTILINE
)
_HEAD = 2048  # bytes in which the format is stated
# Possessive, because a line may be as long as the file.
_LICENSE = re.compile(rb"^License:[ \t]*+([!-~][ -~]{0,199}+)$", re.MULTILINE)
_BETWEEN_LICENSES = re.compile(r"\s+(?:and|or|and/or)\s+|\s*[,|]\s*(?:and\s+|or\s+)?")
_SIZE = 1024**2  # bytes that are read

_COMMON = re.compile(rb"/usr/share/common-licenses/([A-Z][A-Za-z]{1,8}-[0-9](?:\.[0-9])?)(?![0-9])")
_SPACE = re.compile(rb"[\s*#/]+")
_LATER = b"any later version"
_GNU = re.compile(r"[AL]?GPL-|GFDL-")
# Sentences of licences, without case and with single spaces, and one that only a longer relative of the licence has.
_SENTENCES = (
    ("MIT", b"permission is hereby granted, free of charge, to any person obtaining a copy", None),
    (
        "ISC",
        b"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",
        None,
    ),
    ("ISC", b"permission to use, copy, modify, and distribute this software for any purpose with or without fee", None),
    ("BSD-3-Clause", b"redistribution and use in source and binary forms", b"neither the name"),
    ("BSD-2-Clause", b"redistribution and use in source and binary forms", None),
    ("Zlib", b"this software is provided 'as-is', without any express or implied warranty", None),
)


def copyright_licenses(content: bytes) -> Iterator[str]:
    """How the licences combine is left out, and a licence may be named twice."""
    if _MACHINE_READABLE.search(content, 0, _HEAD):
        for match in _LICENSE.finditer(content, 0, _SIZE):
            for name in _BETWEEN_LICENSES.split(match[1].decode("ascii").strip()):
                if name:  # "License: and" names none
                    yield spdx_license(name)
        return
    text = _SPACE.sub(b" ", content[:_SIZE]).lower()
    for match in _COMMON.finditer(content, 0, _SIZE):
        name = match[1].decode("ascii")
        yield spdx_license(f"{name}+" if _GNU.match(name) and _LATER in text else name)
    seen: set[bytes] = set()
    for name, sentence, only_with in _SENTENCES:
        if sentence in text and sentence not in seen and (only_with is None or only_with in text):
            seen.add(sentence)
            yield name
