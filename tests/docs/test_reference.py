"""The generated pages are what the code says today, and every code somebody can meet has its page."""

from __future__ import annotations

import re

import pytest

from docs.generate import PAGES, REFERENCE, page
from schema.kernel.errors import ErrorCode
from schema.scans.failures import FailureCode


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str) -> None:
    assert (REFERENCE / name).read_text() == page(name), "run `make docs`"


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    pages = {path.stem for path in (REFERENCE / "errors").glob("*.md")} - {"README"}
    assert pages == {code.value for code in ErrorCode}


@pytest.mark.parametrize("code", ErrorCode)
def test_error_page_says_what_when_and_what_to_do(code: ErrorCode) -> None:
    text = (REFERENCE / f"errors/{code}.md").read_text()
    assert text.startswith(f"# {code}\n")
    assert all(f"\n## {title}\n" in text for title in ("When", "What to do", "Example"))


def test_error_index_names_every_code() -> None:
    text = (REFERENCE / "errors/README.md").read_text()
    assert re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE) == [code.value for code in ErrorCode]


def test_every_failure_code_is_documented() -> None:
    text = (REFERENCE / "scan-failures.md").read_text()
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == [code.value for code in FailureCode]
