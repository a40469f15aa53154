"""GraphQL over HTTP: what a request may look like, who may ask what, and what it may cost."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from compat_rest.bodies import MAX_JSON_BYTES
from schema.build import build_schema
from schema.execution import limits
from schema.execution.documents import CACHE_SIZE, DocumentCache
from schema.kernel.database import Database
from tests.app.site import PASSWORD, SCAN, Site, Tenant, copy_sqlite, open_site


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: what is tested here is decided before the database is asked."""
    return copy_sqlite(sqlite_template, tmp_path)


async def post(client: httpx.AsyncClient, tenant: Tenant | None, query: str, **variables: Any) -> dict[str, Any]:
    """The answer to a request that was executed or refused as a document; its status is 200 either way."""
    headers = tenant.headers() if tenant else {}
    response = await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    for error in answer.get("errors", []):
        assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return answer


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


def messages(answer: dict[str, Any]) -> str:
    return "\n".join(error["message"] for error in answer.get("errors", []))


def refusal(response: httpx.Response) -> tuple[int, str]:
    [error] = response.json()["errors"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return response.status_code, error["extensions"]["code"]


async def test_query_and_mutation(client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = await post(
        client, tenant, "mutation($input: TriggerScanInput!) { triggerScan(input: $input) { id status } }", input=SCAN
    )
    found = await post(client, tenant, "{ scans { items { id image } meta { total } } me { role } }")

    assert made["data"]["triggerScan"]["status"] == "QUEUED"
    assert found["data"] == {
        "scans": {
            "items": [{"id": made["data"]["triggerScan"]["id"], "image": SCAN["image"]}],
            "meta": {"total": 1},
        },
        "me": {"role": "admin"},
    }


async def test_errors_carry_their_code(client: httpx.AsyncClient, tenant: Tenant) -> None:
    missing = await post(client, tenant, '{ scan(id: "scn-missing") { id } me { role } }')
    invalid = await post(
        client,
        tenant,
        "mutation($input: TriggerScanInput!) { triggerScan(input: $input) { id } }",
        input={**SCAN, "scanners": []},
    )
    variable = await post(client, tenant, "query($id: ID!) { scan(id: $id) { id } }", id=None)

    assert (codes(missing), messages(missing)) == (["NOT_FOUND"], "Scan not found")
    assert invalid["errors"][0]["extensions"]["issues"] == [
        {"path": "scanners", "message": "must contain at least 1 element"}
    ]
    assert codes(variable) == ["VALIDATION_ERROR"]


async def test_a_literal_that_is_no_value_of_its_scalar_is_a_fault_of_the_document(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    query = 'mutation { createApiKey(input: {name: "a", role: VIEWER, expiresAt: "tomorrow"}) { id } }'
    answer = await post(client, tenant, query)

    assert set(codes(answer)) == {"BAD_REQUEST"}
    assert "ISO 8601" in messages(answer)


@pytest.mark.parametrize(
    ("query", "code"),
    [("{ scans { items { id } } }", "UNAUTHORIZED"), ("mutation { logout }", "UNAUTHORIZED")],
)
async def test_anonymous_caller_reaches_public_fields_only(client: httpx.AsyncClient, query: str, code: str) -> None:
    assert codes(await post(client, None, query)) == [code]


async def test_login_sets_the_cookie(client: httpx.AsyncClient, tenant: Tenant) -> None:
    document = "mutation($input: LoginInput!) { login(input: $input) { user { email } } }"

    answer = await post(client, None, document, input={"email": tenant.email, "password": PASSWORD})
    me = await client.post(
        "/graphql", json={"query": "{ me { user { email } } }"}, headers={"X-HarborGuard-Client": "t"}
    )

    assert answer["data"]["login"]["user"]["email"] == tenant.email
    assert me.json()["data"]["me"]["user"]["email"] == tenant.email


async def test_invalid_credential_is_401_before_anything_runs(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ me { role } }"}, headers={"X-API-Key": "nonsense"})

    assert refusal(response) == (401, "UNAUTHORIZED")


async def test_t18_aliased_logins_are_counted_one_by_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    def document(number: int) -> str:
        attempt = f'login(input: {{email: "{tenant.email}", password: "wrong"}}) {{ role }}'
        return "mutation {" + " ".join(f"a{index}: {attempt}" for index in range(number)) + "}"

    refused = await post(client, None, document(100))
    tried = await post(client, None, document(12))

    assert codes(refused) == ["BAD_REQUEST", "BAD_REQUEST"]  # too many aliases, and too many root fields
    assert codes(tried) == ["UNAUTHORIZED"]  # the first null of a non-null field ends the answer
    again = await post(client, None, document(1))
    assert codes(again) in (["UNAUTHORIZED"], ["RATE_LIMITED"])


async def test_t19b_repeated_queries_are_prepared_once(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    query = "query Ours($n: Int) { scans(limit: $n) { items { id status } } }"

    async def documents() -> tuple[float, float]:
        text = (await client.get("/metrics")).text
        values = {
            result: float(line.rpartition(" ")[2])
            for result in ("hit", "miss")
            for line in text.splitlines()
            if line.startswith(f'harborguard_graphql_documents_total{{result="{result}"}}')
        }
        return values["hit"], values["miss"]

    before = await documents()
    for number in range(150):
        assert not codes(await post(client, tenant, query, n=number + 1))
    after = await documents()

    assert (after[0] - before[0], after[1] - before[1]) in ((150, 0), (149, 1))


def test_t19b_distinct_queries_do_not_pile_up() -> None:
    schema = build_schema().graphql
    cache = DocumentCache(size=50)
    sizes = []
    tracemalloc.start()
    for round_number in range(4):
        for number in range(50):
            cache.prepare(schema, f"{{ me {{ r{round_number}x{number}: role }} }}")
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert len(cache) == 50
    assert CACHE_SIZE <= 1_000
    assert sizes[3] < sizes[0] * 1.2


async def test_t20_large_body_is_refused(client: httpx.AsyncClient, tenant: Tenant) -> None:
    content = orjson.dumps({"query": "{ me { role } }", "padding": "x" * MAX_JSON_BYTES})

    response = await client.post(
        "/graphql", content=content, headers={**tenant.headers(), "content-type": "application/json"}
    )

    assert refusal(response) == (413, "PAYLOAD_TOO_LARGE")


DEEP = "{ scans " + "{ items " * 10 + "{ id }" + " }" * 11
CYCLE = "{ me { ...a } } fragment a on Me { ...b } fragment b on Me { ...a }"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("{ me { " + "role " * 2_000 + "} }", "2000 tokens", id="t21_tokens"),
        pytest.param(DEEP, "levels of depth; at most 10", id="t22_depth"),
        pytest.param("{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}", "31 aliases", id="t23_aliases"),
        pytest.param("{" + "__typename " * 21 + "}", "21 root fields; at most 20", id="t24_root_fields"),
        pytest.param(
            "{ me { " + "role @include(if: true) " * 51 + "} }", "51 directives; at most 50", id="t25_directives"
        ),
        pytest.param(
            "{ me { role } } " + " ".join(f"fragment f{n} on Me {{ role }}" for n in range(51)),
            "51 fragments; at most 50",
            id="t25_fragments",
        ),
        pytest.param(CYCLE, "Cannot spread fragment 'a' within itself", id="t25_cyclic_fragments"),
        pytest.param(
            "{ scans(limit: 100) { items { findings(limit: 100) { items { package { name } } } } } }",
            "points of cost; at most 5000",
            id="t26_cost",
        ),
        pytest.param("{" * 1_500, "Syntax Error", id="t22_nesting_without_names"),
        pytest.param("{ a " * 90 + "}" * 90, "levels of depth", id="t22_nesting"),
        pytest.param("{ a " * 900 + "}" * 900, "nested too deeply", id="t22_endless_nesting"),
    ],
)
async def test_document_over_a_limit_is_refused_before_any_sql(
    client: httpx.AsyncClient, site: Site, tenant: Tenant, query: str, message: str
) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    for engine in site.database.engines:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    answer = await post(client, tenant, query)

    assert set(codes(answer)) == {"BAD_REQUEST"}
    assert message in messages(answer)
    assert [statement for statement in statements if "api_keys" not in statement and "BEGIN" not in statement] == []


@pytest.mark.parametrize(
    "body", [[{"query": "{ me { role } }"}] * 6, {}, {"query": ""}, {"query": 7}, {"query": "{ a }", "variables": []}]
)
async def test_t24_body_that_is_no_single_request_is_refused(
    client: httpx.AsyncClient, tenant: Tenant, body: Any
) -> None:
    response = await client.post("/graphql", json=body, headers=tenant.headers())

    assert refusal(response) == (400, "BAD_REQUEST")


async def test_t27_operation_that_takes_too_long_is_given_up(
    client: httpx.AsyncClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXECUTION_SECONDS", 0.0)

    answer = await post(client, tenant, "{ scans { items { id } } }")

    assert codes(answer) == ["TIMEOUT"]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ scens { items { id } } }", {}),
        ("{ me { rolle } }", {}),
        ("{ scans(limt: 1) { items { id } } }", {}),
        ("{ vulnerabilities(severity: [CRITICL]) { items { id } } }", {}),
        ("query($s: [Severity!]) { vulnerabilities(severity: $s) { items { id } } }", {"s": ["CRITICL"]}),
        ("mutation($i: TriggerScanInput!) { triggerScan(input: $i) { id } }", {"i": {**SCAN, "imag": "x"}}),
        ("query($x: Sevrity) { me { role } }", {}),
        ("{ me { ... on Mee { role } } }", {}),
        ("{ me { role @skp(if: true) } }", {}),
    ],
)
async def test_t28_errors_suggest_no_names(
    client: httpx.AsyncClient, tenant: Tenant, query: str, variables: dict[str, Any]
) -> None:
    answer = await post(client, tenant, query, **variables)

    assert answer["errors"]
    assert "did you mean" not in messages(answer).lower()


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Scan") { name } }',
        "query A { __typename } query B { x: __schema { types { name } } }",
        "{ ...a } fragment a on Query { ... { __schema { types { name } } } }",
    ],
)
async def test_t29_introspection_is_for_callers_with_a_credential(
    client: httpx.AsyncClient, tenant: Tenant, query: str
) -> None:
    headers = {} if "query A" not in query else {"x": "y"}
    body = {"query": query, **({"operationName": "B"} if headers else {})}
    anonymous = (await client.post("/graphql", json=body)).json()
    known = (await client.post("/graphql", json=body, headers=tenant.headers())).json()

    assert codes(anonymous) == ["UNAUTHORIZED"]
    assert not anonymous["data"]
    assert not codes(known)
    assert known["data"]


async def test_typename_is_no_introspection(client: httpx.AsyncClient) -> None:
    assert (await post(client, None, "{ __typename }"))["data"] == {"__typename": "Query"}


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ __typename }", 0),
        ("{ me { role } }", 1),
        ("{ me { organization { id } } }", 2),
        # The page, its meta and its rows count for each of the 10 rows.
        ("{ scans(limit: 10) { items { id } meta { total } } }", 30),
        ("query A { me { role } } query B { me { organization { id } } }", 2),
        # The largest page where a variable decides.
        ("query B($n: Int) { scans(limit: $n) { items { id } } }", 400),
    ],
)
async def test_t26_answer_tells_what_it_cost(client: httpx.AsyncClient, tenant: Tenant, query: str, cost: int) -> None:
    name = {"operationName": "B"} if "query B" in query else {}
    response = await client.post("/graphql", json={"query": query, **name}, headers=tenant.headers())

    assert response.json()["extensions"] == {"cost": {"requested": cost, "maximum": 5000}}


async def test_syntax_error_with_an_operation_name_is_a_syntax_error(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "query A { ", "operationName": "A"})

    assert codes(response.json()) == ["BAD_REQUEST"]
    assert "Syntax Error" in messages(response.json())


async def test_unknown_operation_name_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "query A { __typename }", "operationName": "B"})

    assert refusal(response) == (400, "BAD_REQUEST")


async def test_queries_by_get(client: httpx.AsyncClient, tenant: Tenant) -> None:
    params = {"query": "query($n: Int) { scans(limit: $n) { meta { pageSize } } }", "variables": '{"n": 7}'}

    response = await client.get("/graphql", params=params, headers=tenant.headers())

    assert response.json()["data"]["scans"]["meta"]["pageSize"] == 7


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"query": "mutation { logout }"}, 400),
        ({"query": "subscription { scanProgress(id: 1) { id } }"}, 400),
        ({"query": "{ __typename }", "variables": "{"}, 400),
        ({"query": "{ __typename }", "variables": "[]"}, 400),
        ({}, 400),
    ],
)
async def test_get_that_is_no_query_is_refused(
    client: httpx.AsyncClient, tenant: Tenant, params: dict[str, str], status: int
) -> None:
    response = await client.get("/graphql", params=params, headers=tenant.headers())

    assert refusal(response) == (status, "BAD_REQUEST")


async def test_t14_get_does_not_count_with_the_cookie(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    await site.sign_in(client, tenant)

    response = await client.get("/graphql", params={"query": "{ me { role } }"})

    assert refusal(response) == (400, "BAD_REQUEST")


async def test_subscription_needs_a_socket(client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await client.post(
        "/graphql",
        json={"query": "subscription { scanProgress(id: 1) { id } }"},
        headers={**tenant.headers(), "accept": "text/event-stream, multipart/mixed;subscriptionSpec=1.0"},
    )

    assert refusal(response) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/graphql", ""])
async def test_other_media_types_are_refused(client: httpx.AsyncClient, tenant: Tenant, content_type: str) -> None:
    response = await client.post(
        "/graphql", content=b'{"query": "{ __typename }"}', headers={**tenant.headers(), "content-type": content_type}
    )

    assert refusal(response) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.put("/graphql")

    assert refusal(response) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "GET, HEAD, POST"


async def test_page_for_browsers(client: httpx.AsyncClient) -> None:
    page = await client.get("/graphql", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    program = await client.get("/graphql", headers={"accept": "*/*"})
    script = await client.get("/static/graphiql/graphiql.js")

    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert refusal(program) == (400, "BAD_REQUEST")
    assert script.status_code == 200


async def test_t31_resolver_crash_is_masked(
    client: httpx.AsyncClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_args: Any, **_options: Any) -> Any:
        msg = "detail of /srv/app: SELECT secret"
        raise RuntimeError(msg)

    monkeypatch.setattr("schema.scans.repository.list_scans", crash)

    answer = await post(client, tenant, "{ scans { items { id } } }")

    assert codes(answer) == ["INTERNAL_ERROR"]
    assert "SELECT" not in str(answer)


TOKENS = st.sampled_from(
    [
        *"{}()[]:!$@|&=",
        '"',
        '"""',
        "...",
        "query",
        "mutation",
        "subscription",
        "fragment",
        "on",
        "scans",
        "items",
        "id",
        "me",
        "role",
        "scan",
        "limit",
        "after",
        "search",
        "__schema",
        "__typename",
        "null",
        "true",
        "99999999999999999999",
        "-1",
        "1.5e400",
        '"\\u0000"',
        '"\\ud800"',
        "\ud83d",
        "#",
        "\x00",
        "$v",
        "@include(if: true)",
        '"v1.WyJzY2FubmVkQXQiLCJkZXNjIiwxLCJhIl0"',
    ]
)
TENANTS: dict[Site, Tenant] = {}
LEAKS = ("Traceback", 'File "', "site-packages", "sqlalchemy", "sqlite", "SELECT ", "/work", ".py")


@pytest.fixture
async def unhurried(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    """A site whose general budget is out of reach."""
    async with open_site(database, tmp_path, rate_limit_per_minute=1_000_000) as opened:
        yield opened


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.lists(TOKENS, max_size=25).map(" ".join), variables=st.dictionaries(st.just("v"), st.text(max_size=3)))
async def test_t31_no_answer_tells_about_our_insides(unhurried: Site, query: str, variables: dict[str, str]) -> None:
    tenant = TENANTS.get(unhurried) or TENANTS.setdefault(unhurried, await unhurried.tenant())
    content = orjson.dumps({"query": query.encode("utf-8", "replace").decode(), "variables": variables})

    async with unhurried.client() as client:
        response = await client.post(
            "/graphql", content=content, headers={**tenant.headers(), "content-type": "application/json"}
        )

    assert response.status_code in {200, 400}
    assert "INTERNAL_ERROR" not in response.text
    assert not [leak for leak in LEAKS if leak in response.text]
