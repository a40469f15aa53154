"""The one way in which reading an RPM database fails."""

from __future__ import annotations


class MalformedError(ValueError):
    """The bytes are not what their format says. The message continues a sentence: "a page that does not exist"."""
