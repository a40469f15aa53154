"""Cursors, from outside and on both databases: they lead through a whole list, and hostile ones lead nowhere."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import orjson
import pytest

from tests.app.site import SCAN, Site, Tenant


def cursor(*parts: Any) -> str:
    return "v1." + base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


async def ask(client: httpx.AsyncClient, tenant: Tenant, query: str, **variables: Any) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": query, "variables": variables}, headers=tenant.headers())
    answer: dict[str, Any] = response.json()
    return answer


SCANS = """
query($after: String, $sort: String) {
  scans(after: $after, sort: $sort, limit: 2) { items { id } meta { hasNext total endCursor } }
}"""


@pytest.mark.parametrize("column", ["scannedAt", "status", "compliance", "riskScore"])
async def test_cursors_lead_through_the_whole_list(client: httpx.AsyncClient, tenant: Tenant, column: str) -> None:
    made = []
    for _ in range(5):
        response = await client.post("/api/scans", json=SCAN, headers=tenant.headers())
        made.append(response.json()["data"]["id"])
    for direction in ("asc", "desc"):
        after, seen = None, []
        while True:
            answer = await ask(client, tenant, SCANS, after=after, sort=f"{column}:{direction}")
            page = answer["data"]["scans"]
            seen += [item["id"] for item in page["items"]]
            if not page["meta"]["hasNext"]:
                break
            after = page["meta"]["endCursor"]
        assert seen == (made if direction == "asc" else made[::-1])


LISTS = {
    "scans": ("scannedAt", "riskScore", "status", "compliance"),
    "images": ("createdAt", "riskScore", "name"),
    "vulnerabilities": ("severity", "cvss", "detectedAt", "cveId", "triageStatus"),
    "apiKeys": ("createdAt", "name"),
}
KEYS = [1, -1, 1.5, 1e300, 2**62, "a", "\x00", None, True, [], {}, "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
IDS = ["\x00", 1, None]


@pytest.mark.parametrize("name", LISTS)
async def test_hostile_cursor_is_refused_or_reads_an_ordinary_page(
    client: httpx.AsyncClient, site: Site, tenant: Tenant, name: str
) -> None:
    for column in LISTS[name]:
        texts = [cursor(column, "desc", key, "scn-1") for key in KEYS]
        texts += [cursor(column, "desc", "2026-01-01T00:00:00", row_id) for row_id in IDS]
        for after in [*texts, "v1.", "v2.x", "", "v1.é", cursor(), cursor(1, 2, 3, 4, 5), "v1." + "A" * 5_000]:
            answer = await ask(
                client,
                tenant,
                f'query($after: String) {{ {name}(after: $after, sort: "{column}:desc") {{ items {{ id }} }} }}',
                after=after,
            )
            codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
            if codes == ["RATE_LIMITED"]:
                pytest.fail("the test asks more than the budget allows")
            assert codes in ([], ["BAD_REQUEST"]), (after, codes)


@pytest.mark.parametrize(
    "query",
    [
        "query($text: ID!) { scan(id: $text) { id } }",
        "query($text: ID!) { image(id: $text) { id } }",
        "query($text: ID!) { vulnerability(id: $text) { id } }",
        "query($text: String!) { scans(search: $text) { items { id } } }",
        "query($text: String!) { vulnerabilities(image: $text, package: $text, cveId: $text) { items { id } } }",
        "query($text: String!) { images(registry: $text) { items { id } } }",
        "query($text: String!) { apiKeys(sort: $text, search: $text) { items { id } } }",
        "mutation($text: ID!) { deleteApiKey(id: $text) }",
        "mutation($text: ID!) { cancelScan(id: $text) { id } }",
        'mutation($text: ID!) { triggerScan(input: {image: "a", scanners: [trivy], uploadId: $text}) { id } }',
        "mutation($text: String!) { triggerScan(input: {image: $text, scanners: [trivy]}) { id } }",
        "mutation($text: String!) { createApiKey(input: {name: $text}) { id } }",
        "mutation($text: String!) { login(input: {email: $text, password: $text}) { role } }",
    ],
)
async def test_hostile_text_is_an_ordinary_error(client: httpx.AsyncClient, tenant: Tenant, query: str) -> None:
    for text in ("", "\x00", "a\x00b", "x" * 100_000, "é" * 300, "\uffff", "%' OR 1=1 --"):
        answer = await ask(client, tenant, query, text=text)
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        assert codes <= {"BAD_REQUEST", "VALIDATION_ERROR", "NOT_FOUND", "UNAUTHORIZED"}, (text[:20], codes)


async def test_moment_outside_of_the_calendar_is_a_validation_issue(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for moment in ("9999-12-31T23:59:59.999-14:00", "0001-01-01T00:00:00+14:00"):
        response = await client.post("/api/api-keys", json={"name": "a", "expiresAt": moment}, headers=tenant.headers())
        assert response.json()["error"]["issues"][0]["path"] == "expiresAt"
