"""Bytes of a valid database, changed here and there."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st


@st.composite
def corrupted(draw: st.DrawFn, content: bytes) -> bytes:
    """A few bytes, or numbers of two and four bytes, overwritten, mostly near the starts of pages; perhaps cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        page = draw(st.integers(0, max(0, len(content) // 512 - 1))) * 512
        start = min(page + draw(st.integers(0, 127)), len(content) - 4)
        value = draw(st.sampled_from([0, 1, 2, 3, 255, 256, 65535, 2**31, 2**32 - 1]) | st.integers(0, 2**16))
        size = draw(st.sampled_from([1, 2, 4]))
        order: Literal["little", "big"] = "little" if draw(st.booleans()) else "big"
        changed[start : start + size] = (value % 256**size).to_bytes(size, order)
    return bytes(changed[: draw(st.just(len(changed)) | st.integers(0, len(changed)))])
