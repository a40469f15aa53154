"""Package URLs (ECMA-427): of the image itself, and whether one that a provider told may be passed on."""

from __future__ import annotations

import re
from urllib.parse import quote

from schema.documents.contents import ScanContents

_PURL = re.compile(r"pkg:[A-Za-z][A-Za-z0-9.+-]*/[!-~]+")


def is_purl(text: str) -> bool:
    """Whether it has the form, in printable ASCII, which is all that readers ask for."""
    return _PURL.fullmatch(text) is not None


def image_purl(contents: ScanContents) -> str | None:
    """The image (type `oci`), which is named by its contents; None where no digest is known."""
    if contents.digest is None:
        return None
    name = contents.image.rpartition("/")[2]
    return f"pkg:oci/{quote(name)}@{quote(contents.digest, safe='')}?repository_url={quote(contents.image, safe='/')}"
