"""The GraphQL page: whole on its own, fit for a strict content security policy, and built from its sources."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "app/static/graphiql"
SOURCES = ROOT / "tools/graphiql"
NOT_BUILT_FROM = {"package.json", ".gitignore"}  # the lock file says all that package.json does


class PageParser(HTMLParser):
    """Collects what a content security policy and a network without the internet would stop."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in {"script", "link", "img", "iframe"}:
            self.references += [value for name in ("src", "href") if (value := attributes.get(name))]
        self._script = tag == "script"
        if tag == "style":
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)


@pytest.fixture
def page() -> PageParser:
    parser = PageParser()
    parser.feed((PAGE / "index.html").read_text())
    return parser


def test_page_refers_to_local_files_only(page: PageParser) -> None:
    files = [reference for reference in page.references if reference != "data:,"]

    assert len(files) == 2
    for reference in files:
        assert "//" not in reference
        assert (ROOT / "app" / reference).is_file()


def test_page_has_nothing_inline(page: PageParser) -> None:
    assert page.inline == []


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<script>alert(1)</script>", ["alert(1)"]),
        ('<p onclick="x()">', ["onclick"]),
        ('<p style="color:red">', ["style"]),
        ("<style>p{}</style>", ["style"]),
    ],
)
def test_inline_content_would_be_noticed(markup: str, found: list[str]) -> None:
    parser = PageParser()
    parser.feed(markup)

    assert parser.inline == found


def test_style_sheet_loads_nothing() -> None:
    style = (PAGE / "graphiql.css").read_text()

    assert "@import" not in style
    assert "@font-face" not in style
    assert re.findall(r"url\((?!['\"]?data:)[^)]*\)", style) == []


def test_script_is_one_classic_file_without_eval() -> None:
    script = (PAGE / "graphiql.js").read_text()

    assert re.findall(r"\bnew Function\(|[^.\w]eval\(|\bimport\(", script) == []
    assert "sourceMappingURL" not in script


def test_built_files_are_current() -> None:
    """Fails after a change in tools/graphiql until `make graphiql` has run."""
    digest = hashlib.sha256()
    for source in sorted(path for path in SOURCES.iterdir() if path.is_file() and path.name not in NOT_BUILT_FROM):
        digest.update(source.read_bytes())

    for name in ("graphiql.js", "graphiql.css"):
        assert f"sources sha256:{digest.hexdigest()} " in (PAGE / name).read_text()[:200]
    assert (PAGE / "index.html").read_bytes() == (SOURCES / "index.html").read_bytes()


def test_licences_of_the_bundle_are_shipped() -> None:
    licences = (PAGE / "LICENSES.txt").read_text()

    for package in ("graphiql", "graphql", "graphql-ws", "react", "codemirror"):
        assert re.search(rf"^{package} \d[\w.-]* \(MIT\)$", licences, re.MULTILINE), package
    assert "app/static/graphiql/LICENSES.txt" in (ROOT / "NOTICE").read_text()
