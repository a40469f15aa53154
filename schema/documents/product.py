"""What we call ourselves in a document."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

PRODUCT: Final = "HarborGuard"
VERSION: Final = version("harborguard")
