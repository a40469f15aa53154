"""The pages for people, in a real browser: they show what they should, stay within their policy, and ask no other host.

Debian's `chromium` is the browser (`apt install chromium`); without one these tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from app.administration import set_up
from app.settings import Settings
from tests.compat_rest.described import OPERATIONS, PATHS
from tests.docs.conftest import RunningServer, running_server

CHROMIUM = shutil.which("chromium")
EMAIL, PASSWORD = "you@example.com", "correct horse battery staple"
PATIENCE_MS = 60_000
MAX_TURNS = 500
# A refusal that only a listener hears: a script may catch what it was refused, and the console then says nothing.
LISTENER = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`refused by the policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@dataclass
class Visit:
    """A page that is being looked at, and what went wrong on it."""

    page: Page
    server: RunningServer
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(LISTENER)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.context.on("request", self._follow)

    def open(self, path: str) -> None:
        self.page.goto(self.server.url + path)

    def sign_in(self) -> None:
        """The browser has the session's cookie afterwards."""
        body = {"email": EMAIL, "password": PASSWORD}
        assert self.page.request.post(f"{self.server.url}/api/auth/login", data=body).ok

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text}")

    def _follow(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and f"{address.scheme}://{address.netloc}" != self.server.url:
            self.problems.append(f"asks another host: {request.url}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("pages")
    settings = Settings(data_dir=directory / "data")
    asyncio.run(set_up(settings, organization="Acme", email=EMAIL, name="You", password=PASSWORD))
    with running_server(directory) as running:
        yield running


@pytest.fixture(scope="module")
def browser(server: RunningServer) -> Iterator[Browser]:
    """After the server, because Playwright leaves an event loop running in this thread."""
    assert server.url
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to be root
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=alone)
        yield opened
        opened.close()


@pytest.fixture
def visit(server: RunningServer, browser: Browser) -> Iterator[Visit]:
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        visit = Visit(context.new_page(), server)
        yield visit
        visit.page.evaluate("new Promise(requestAnimationFrame)")  # what was refused last is told by then
        assert visit.problems == []


def test_scalar_lists_every_operation(visit: Visit) -> None:
    visit.open("/docs")

    expect(visit.page.get_by_role("heading", name="HarborGuard")).to_be_visible()
    for path, methods in PATHS.items():
        for method, operation in methods.items():
            link = f"#tag/{operation['tags'][0]}/{method.upper()}{path}"
            expect(visit.page.locator(f'a[href="{link}"]').first).to_contain_text(operation["summary"])


def test_scalar_shows_every_operation_to_whoever_scrolls(visit: Visit) -> None:
    visit.open("/docs")
    unseen = {f"Test Request ({method} {path})" for path, methods in PATHS.items() for method in methods}
    buttons = visit.page.get_by_role("button").filter(has_text="Test Request")

    expect(buttons.first).to_be_visible()
    visit.page.mouse.move(900, 500)
    for _ in range(MAX_TURNS):  # of the wheel: a part is drawn when it comes into view
        visit.page.mouse.wheel(0, 2000)
        visit.page.wait_for_timeout(50)
        unseen -= {" ".join(text.split()) for text in buttons.all_inner_texts()}
        if not unseen:
            break

    assert unseen == set()


def test_scalar_sends_a_request_with_the_session_and_stores_no_key(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/docs")

    visit.page.get_by_role("button", name="Test Request").first.click()
    with visit.page.expect_response("**/api/**") as answer:
        visit.page.get_by_role("button", name="Send").first.click()

    assert answer.value.status == 200
    expect(visit.page.get_by_text("200 OK").first).to_be_visible()


def test_swagger_lists_every_operation_and_shows_one_of_each_tag(visit: Visit) -> None:
    visit.open("/docs/swagger")

    expect(visit.page.locator(".opblock")).to_have_count(len(OPERATIONS))
    for tag, name in {operation["tags"][0]: name for name, operation in OPERATIONS.items()}.items():
        shown = visit.page.locator(f"#operations-{tag}-{name}")
        shown.locator(".opblock-summary-control").click()
        expect(shown.locator(".responses-table")).to_be_visible()


def test_swagger_sends_a_request_with_the_session_that_changes_something(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/docs/swagger")

    operation = visit.page.locator("#operations-api-keys-createApiKey")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with visit.page.expect_response("**/api/api-keys") as answer:
        operation.get_by_role("button", name="Execute").click()

    assert answer.value.status == 201, answer.value.text()
    key = answer.value.json()["data"]["secret"]
    me = httpx.get(f"{visit.server.url}/api/me", headers={"X-API-Key": key}, trust_env=False)
    assert me.json()["data"]["role"] == "ci"


def test_swagger_leaves_the_session_at_home_when_a_key_is_given(visit: Visit) -> None:
    visit.sign_in()
    key = "hg_ak_" + "0" * 48
    visit.open("/docs/swagger")

    visit.page.get_by_role("button", name="Authorize").first.click()
    visit.page.locator("#api_key_value").first.fill(key)
    visit.page.get_by_role("button", name="Apply credentials").first.click()
    visit.page.get_by_role("button", name="Close").first.click()
    operation = visit.page.locator("#operations-account-getMe")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with visit.page.expect_response("**/api/me") as answer:
        operation.get_by_role("button", name="Execute").click()

    sent = answer.value.request.all_headers()
    assert (sent["x-api-key"], "cookie" in sent) == (key, False)
    assert answer.value.json()["error"]["message"] == "Invalid or expired credential"
    visit.problems = [each for each in visit.problems if "401 (Unauthorized)" not in each]  # the one that was asked for


def test_graphiql_runs_a_query(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/graphql")

    expect(visit.page.locator(".graphiql-query-editor")).to_contain_text("query Welcome")
    visit.page.get_by_role("button", name="Execute query").click()
    expect(visit.page.locator(".graphiql-response")).to_contain_text('"name": "Acme"')


def test_a_breach_would_be_noticed(visit: Visit) -> None:
    visit.open("/docs/swagger")
    visit.page.evaluate("""() => {
        document.body.setAttribute("style", "color: red");
        fetch("https://elsewhere.example/").catch(() => {});
        setTimeout(() => { throw new Error("on purpose") });
    }""")
    wanted = ("refused by the policy: style-src-attr", "connect-src https://elsewhere.example", "uncaught: on purpose")
    for _ in range(MAX_TURNS):
        missed = [each for each in wanted if each not in "\n".join(visit.problems)]
        if not missed:
            break
        visit.page.wait_for_timeout(50)

    assert missed == []
    visit.problems = []
