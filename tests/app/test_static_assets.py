"""The pages for people: whole on their own, fit for a strict content security policy, and built from their sources."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "app/static"
TOOLS = ROOT / "tools"
NOT_BUILT_FROM = {"package.json", ".gitignore"}  # the lock file says all that package.json does


@dataclass(frozen=True, kw_only=True)
class BuiltPage:
    """A page, where it is served, and the name of its script and style sheet."""

    folder: str
    file: str
    path: str
    name: str

    @property
    def html(self) -> Path:
        return STATIC / self.folder / self.file


PAGES = [
    BuiltPage(folder="graphiql", file="index.html", path="/graphql", name="graphiql"),
    BuiltPage(folder="openapi", file="scalar.html", path="/docs", name="scalar"),
    BuiltPage(folder="openapi", file="swagger.html", path="/docs/swagger", name="swagger"),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class PageParser(HTMLParser):
    """Collects what a content security policy and a network without the internet would stop."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self._script = False
        self.feed(text)

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


@each_page
def test_page_refers_to_local_files_only(page: BuiltPage) -> None:
    files = [each for each in PageParser(page.html.read_text()).references if each != "data:,"]

    assert len(files) == 2
    for reference in files:
        assert not urlsplit(reference).netloc
        assert (ROOT / "app" / urljoin(page.path, reference).removeprefix("/")).is_file()


@each_page
def test_page_has_nothing_inline(page: BuiltPage) -> None:
    assert PageParser(page.html.read_text()).inline == []


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
    assert PageParser(markup).inline == found


@each_page
def test_style_sheet_loads_nothing(page: BuiltPage) -> None:
    style = page.html.with_name(f"{page.name}.css").read_text()

    assert "@import" not in style
    assert "@font-face" not in style
    assert re.findall(r"url\((?!['\"]?data:)[^)]*\)", style) == []


# What a script may hold and never runs here: a plug-in loader, and the last resort of a browser without `globalThis`.
UNUSED = {"scalar": ["import("], "swagger": ["new Function("]}


@each_page
def test_script_is_one_classic_file_without_eval(page: BuiltPage) -> None:
    script = page.html.with_name(f"{page.name}.js").read_text()
    called = re.findall(r"(?<!`)\b(?:new Function\(|(?<!\.)eval\(|import\()", script)

    assert called == UNUSED.get(page.name, [])
    assert "\n//# sourceMappingURL" not in script


@each_page
def test_built_files_are_current(page: BuiltPage) -> None:
    """Fails after a change in tools/ until `make graphiql openapi` has run."""
    digest = hashlib.sha256()
    for folder in (TOOLS / page.folder, TOOLS):
        for source in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in NOT_BUILT_FROM):
            digest.update(source.read_bytes())

    for kind in ("js", "css"):
        text = page.html.with_name(f"{page.name}.{kind}").read_text()
        assert f"sources sha256:{digest.hexdigest()} " in text[:200]
    assert page.html.read_bytes() == (TOOLS / page.folder / page.file).read_bytes()


@pytest.mark.parametrize(
    ("folder", "packages"),
    [
        ("graphiql", ["graphiql", "graphql", "graphql-ws", "react", "codemirror"]),
        ("openapi", ["@scalar/api-reference", "vue", "react", "react-dom"]),
    ],
)
def test_licences_of_the_bundles_are_shipped(folder: str, packages: list[str]) -> None:
    licences = (STATIC / folder / "LICENSES.txt").read_text()

    for package in packages:
        assert re.search(rf"^{package} \d[\w.-]* \(MIT\)$", licences, re.MULTILINE), package
    assert f"app/static/{folder}/LICENSES.txt" in (ROOT / "NOTICE").read_text()


def test_no_bundled_package_has_a_licence_that_binds_ours() -> None:
    titles = re.findall(r"^@?[\w./-]+ \d[\w.-]* \((.+)\)$", (STATIC / "openapi/LICENSES.txt").read_text(), re.MULTILINE)
    allowed = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense"}

    assert len(titles) > 100
    assert set(titles) - allowed == {"(MPL-2.0 OR Apache-2.0)"}
