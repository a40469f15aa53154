"""Licence names as people write them, as SPDX identifiers (spdx.org/licenses) where the name leaves no doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator

# In lower case, without a leading "the" and a trailing "license".
# Fedora's names of before 2022 are among them. "BSD" alone is any of four licences: it stays as it is.
_SPDX = {
    "0bsd": "0BSD",
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic 2.0": "Artistic-2.0",
    "artistic-2.0": "Artistic-2.0",
    "asl 1.1": "Apache-1.1",
    "asl 2.0": "Apache-2.0",
    "boost software license 1.0": "BSL-1.0",
    "boost": "BSL-1.0",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "expat": "MIT",
    "isc": "ISC",
    "mit": "MIT",
    "mpl 2.0": "MPL-2.0",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "mplv1.1": "MPL-1.1",
    "mplv2.0": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "ofl": "OFL-1.1",
    "openssl": "OpenSSL",
    "psf": "PSF-2.0",
    "psf-2": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "simplified bsd": "BSD-2-Clause",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    "zpl 2.1": "ZPL-2.1",
    "zpl-2.1": "ZPL-2.1",
    "zplv2.1": "ZPL-2.1",
}
_AROUND = re.compile(r"^the\s+|\s+licen[cs]e$", re.IGNORECASE)
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)[- ]?v?([1-3])(?:\.([0-3]))?(\+|-or-later|-only)?", re.IGNORECASE)
_EXPRESSION = re.compile(r"\s(?:AND|OR|WITH)\s")
_CONJUNCTIONS = ("and", "or")


def stated_licenses(text: str) -> Iterator[str]:
    """A distribution's licence field: one SPDX expression; before there was that rule, names with words between them."""
    if _EXPRESSION.search(text):
        yield text
        return
    name: list[str] = []
    for word in (*text.split(), _CONJUNCTIONS[0]):
        if word not in _CONJUNCTIONS:
            name.append(word)
        elif name:
            yield spdx_license(_without_brackets(" ".join(name)))
            name = []


def _without_brackets(name: str) -> str:
    """Those left of a group that was taken apart: `(MIT`, `ASL 2.0)`, `(BSD)`, not those of `BSD (2 clause)`."""
    opened = name.count("(") - name.count(")")
    if opened:
        return name.lstrip("(") if opened > 0 else name.rstrip(")")
    return name[1:-1] if name.startswith("(") and name.endswith(")") else name


def spdx_license(name: str) -> str:
    """The identifier: `GPL-2.0-or-later` for "GPL-2+", `MIT` for "The MIT License". An unknown name stays as it is."""
    gnu = _GNU.fullmatch(name)
    if gnu is not None:
        which = "or-later" if gnu[4] in {"+", "-or-later"} else "only"
        return f"{gnu[1].upper()}-{gnu[2]}.{gnu[3] or 0}-{which}"
    return _SPDX.get(_AROUND.sub("", name).lower(), name)
