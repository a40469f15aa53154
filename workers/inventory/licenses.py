"""Licence names as people write them, as SPDX identifiers and expressions (spdx.org/licenses) where the name leaves no doubt.

One rule for all ecosystems: an expression of the SPDX list is kept in the list's own spelling, with the GNU identifiers
of before 2018 in their present form; a name or address that means one licence becomes its identifier; anything else
stays as it is written, because a guess would be taken for a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

# In lower case, without a leading "the" and a trailing "license".
# Fedora's names of before 2022 are among them. "BSD" alone is any of four licences: it stays as it is.
_SPDX = {
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "agpl v3": "AGPL-3.0-only",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache public license 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache software license version 2.0": "Apache-2.0",
    "apache software license, version 2.0": "Apache-2.0",
    "apache software": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache2": "Apache-2.0",
    "artistic 2.0": "Artistic-2.0",
    "asl 1.1": "Apache-1.1",
    "asl 2.0": "Apache-2.0",
    "boost software license 1.0": "BSL-1.0",
    "boost": "BSL-1.0",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "cc0 1.0 universal": "CC0-1.0",
    "cc0": "CC0-1.0",
    "cddl 1.0": "CDDL-1.0",
    "creative commons zero v1.0 universal": "CC0-1.0",
    "eclipse public license - v 1.0": "EPL-1.0",
    "eclipse public license - v 2.0": "EPL-2.0",
    "eclipse public license 1.0": "EPL-1.0",
    "eclipse public license 2.0": "EPL-2.0",
    "eclipse public license v1.0": "EPL-1.0",
    "eclipse public license v2.0": "EPL-2.0",
    "eclipse public license, version 1.0": "EPL-1.0",
    "eclipse public license, version 2.0": "EPL-2.0",
    "epl 1.0": "EPL-1.0",
    "epl 2.0": "EPL-2.0",
    "expat": "MIT",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu general public license v2.0": "GPL-2.0-only",
    "gnu general public license v3": "GPL-3.0-only",
    "gnu general public license v3.0": "GPL-3.0-only",
    "gnu lesser general public license v2.1": "LGPL-2.1-only",
    "gnu lesser general public license v3.0": "LGPL-3.0-only",
    "mit license (mit)": "MIT",
    "mit/x11": "MIT",
    "modified bsd": "BSD-3-Clause",
    "mozilla public license 1.1": "MPL-1.1",
    "mozilla public license 2.0": "MPL-2.0",
    "mozilla public license version 2.0": "MPL-2.0",
    "mozilla public license, version 2.0": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "mplv1.1": "MPL-1.1",
    "mplv2.0": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "ofl": "OFL-1.1",
    "psf": "PSF-2.0",
    "psf-2": "PSF-2.0",
    "revised bsd": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "universal permissive license v1.0": "UPL-1.0",
    "zope public license 2.1": "ZPL-2.1",
    "zpl 2.1": "ZPL-2.1",
    "zplv2.1": "ZPL-2.1",
}
# In lower case, without scheme, www, and what names only the form of the page.
_ADDRESSES = {
    "apache.org/licenses/license-2.0": "Apache-2.0",
    "eclipse.org/legal/epl-2.0": "EPL-2.0",
    "eclipse.org/legal/epl-v10": "EPL-1.0",
    "eclipse.org/legal/epl-v20": "EPL-2.0",
    "gnu.org/licenses/lgpl-2.1": "LGPL-2.1-only",
    "gnu.org/licenses/old-licenses/lgpl-2.1": "LGPL-2.1-only",
    "opensource.org/licenses/apache-2.0": "Apache-2.0",
    "opensource.org/licenses/bsd-2-clause": "BSD-2-Clause",
    "opensource.org/licenses/bsd-3-clause": "BSD-3-Clause",
    "opensource.org/licenses/mit": "MIT",
    "opensource.org/licenses/mit-license": "MIT",
    "repository.jboss.org/licenses/apache-2.0": "Apache-2.0",
}
_AROUND = re.compile(r"^the\s+|\s+licen[cs]e$", re.IGNORECASE)
_SCHEME = re.compile(r"https?://(?:www\.)?", re.IGNORECASE)
_PAGE = re.compile(r"(?:\.(?:txt|html|php))?/?$", re.IGNORECASE)
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)[- ]?v?([1-3])(?:\.([0-3]))?(\+|-or-later|-only)?", re.IGNORECASE)
# An identifier of the SPDX list of before version 3.0, as it stands in an expression.
_OLD_GNU = re.compile(r"(?<![\w.-])((?:A?GPL|LGPL|GFDL)-[1-3]\.[0-3])(\+)?(?![\w.+-])")
_LONGEST = 200  # characters; longer is no name
_EXPRESSION = re.compile(r"\s(?:AND|OR|WITH)\s")
_CONJUNCTIONS = ("and", "or")


@lru_cache(maxsize=4096)
def spdx_license(name: str) -> str:
    """The identifier or expression: `GPL-2.0-or-later` for "GPL-2+", `MIT` for "The MIT License", `MIT OR Apache-2.0` for
    "mit or apache-2.0". An unknown name stays as it is.
    """
    name = name.strip() or name
    gnu = _GNU.fullmatch(name)
    if gnu is not None:
        which = "or-later" if gnu[4] in {"+", "-or-later"} else "only"
        return f"{gnu[1].upper()}-{gnu[2]}.{gnu[3] or 0}-{which}"
    if len(name) > _LONGEST:
        return name
    if scheme := _SCHEME.match(name):
        return _ADDRESSES.get(_PAGE.sub("", name[scheme.end() :]).lower(), name)
    short = _AROUND.sub("", name).lower()
    return _SPDX.get(short) or _expression(name) or _expression(short) or name


def _expression(text: str) -> str | None:
    """The expression as SPDX writes it; None where it is none, or has a name that is not on the list."""
    try:
        canonical = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None
    return _OLD_GNU.sub(lambda old: f"{old[1]}-{'or-later' if old[2] else 'only'}", canonical)


def stated_licenses(text: str) -> Iterator[str]:
    """A distribution's licence field: one SPDX expression; before there was that rule, names with words between them."""
    if _EXPRESSION.search(text):
        yield spdx_license(text)
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
