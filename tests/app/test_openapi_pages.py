"""`/docs` and the documents it shows, as anybody gets them."""

from __future__ import annotations

import httpx
import pytest

from app.headers import PAGE_POLICY
from tests.app.site import client, on_sqlite, site

__all__ = ["client", "site"]

pytestmark = on_sqlite
PAGES = ["/docs", "/docs/swagger"]
DOCUMENTS = ["/openapi.json", "/openapi-3.0.json", "/openapi/harborguard-v1.yaml"]


@pytest.mark.parametrize("path", PAGES)
async def test_page_is_html_under_the_strict_policy(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    assert page.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", PAGES + DOCUMENTS)
async def test_only_reading_is_allowed_and_no_budget_is_used(client: httpx.AsyncClient, path: str) -> None:
    head, post = await client.head(path), await client.post(path)

    assert head.status_code == 200
    assert "x-ratelimit-limit" not in head.headers
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/docs/", "/docs/swagger/", "/openapi", "/openapi/", "/openapi.yaml"])
async def test_an_address_is_one_address(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_assets_of_the_pages_are_served(client: httpx.AsyncClient) -> None:
    for name, media_type in (
        ("scalar.js", "text/javascript"),
        ("swagger.css", "text/css"),
        ("LICENSES.txt", "text/plain"),
    ):
        asset = await client.get(f"/static/openapi/{name}")
        assert asset.headers["content-type"] == f"{media_type}; charset=utf-8"
