"""What a package says of its licences, in the words of the SPDX list (spdx.org/licenses) where that is possible."""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_LONGEST = 500  # characters; a longer text is no expression but a licence
_IDENTIFIER = re.compile(r"[A-Za-z0-9.-]+")


@lru_cache(maxsize=4096)
def license_expression(text: str) -> str | None:
    """The expression as SPDX writes it; None for a name that is not on the list, nor explained by it (`LicenseRef-`)."""
    if len(text) > _LONGEST:
        return None
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None
    return None if "LicenseRef-" in expression else expression


def is_listed(expression: str) -> bool:
    """Whether an expression is one identifier of the list, and nothing else."""
    return _IDENTIFIER.fullmatch(expression) is not None
