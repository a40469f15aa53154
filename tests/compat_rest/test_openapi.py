"""The document itself, and the real application held against it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.authentication import SESSION_COOKIE
from compat_rest.endpoints import read_documents
from compat_rest.envelopes import STATUS_OF
from compat_rest.routes import ROUTES, Envelope
from schema.execution.runner import load_operation
from schema.kernel.errors import ErrorCode
from schema.kernel.ids import IdPrefix
from schema.kernel.operations import Policy, policy_of
from schema.kernel.principal import ROLE_LEVEL, Role
from tests.app.site import Site, on_sqlite, site
from tests.app.test_statement_budgets import PATH_VALUES
from tests.compat_rest.described import (
    DOCUMENT,
    GENERAL,
    GRAPHQL,
    OPERATIONS,
    PATHS,
    SCHEMAS,
    codes,
    parts,
    require_described,
    resolved,
    violations,
)
from tests.isolation.documents import root_fields
from tests.isolation.estate import Unlimited, furnish, query_of

__all__ = ["site"]

IDS = {
    "scanId": IdPrefix.SCAN,
    "imageId": IdPrefix.IMAGE,
    "vulnId": IdPrefix.VULNERABILITY,
    "registryId": IdPrefix.REGISTRY,
    "keyId": IdPrefix.API_KEY,
    "tokenId": IdPrefix.PERSONAL_ACCESS_TOKEN,
    "sensorId": IdPrefix.SENSOR,
    "batchId": IdPrefix.SCAN_BATCH,
    "tagId": IdPrefix.TAG,
    "syncId": IdPrefix.SYNC,
    "operationId": IdPrefix.TRIAGE_OPERATION,
    "ruleId": IdPrefix.TRIAGE_RULE,
    "filterId": IdPrefix.SAVED_FILTER,
    "attestationId": IdPrefix.ATTESTATION,
    "alertId": IdPrefix.ALERT,
    "trustedKeyId": IdPrefix.TRUSTED_KEY,
}


def parameters(path: str, method: str = "get") -> dict[str, Any]:
    return {each["name"]: each for each in PATHS[path][method]["parameters"]}


def test_document_is_openapi_31_and_its_schemas_are_json_schema() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    references = {part["$ref"] for part in parts(DOCUMENT) if isinstance(part, dict) and "$ref" in part}
    components = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers", "responses")
        for name in DOCUMENT["components"][kind]
    }

    assert references == components


def test_every_route_is_there_once() -> None:
    described = {(method.upper(), path) for path, methods in PATHS.items() for method in methods}
    names = [operation["operationId"] for methods in PATHS.values() for operation in methods.values()]

    assert described == {(row.method, row.path) for row in ROUTES} | {("GET", "/api/health"), ("GET", "/api/ready")}
    assert len(set(names)) == len(names)


def test_everything_a_reader_meets_is_described() -> None:
    undescribed = [
        (path, method, parameter["name"])
        for path, methods in PATHS.items()
        for method, operation in methods.items()
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
    ]

    assert undescribed == []
    assert all(operation["summary"] for methods in PATHS.values() for operation in methods.values())
    assert [name for name, schema in SCHEMAS.items() if "description" not in schema] == ["Error", "Links", "Meta"]


def test_query_parameters_are_the_variables_of_the_document() -> None:
    found = parameters("/api/scans")

    assert list(found) == ["page", "limit", "sort", "status", "search", "batchId"]
    assert found["limit"]["schema"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
    }
    assert found["status"] == {
        "name": "status",
        "in": "query",
        "description": "Any of these.",
        "style": "form",
        "explode": False,
        "schema": {"type": "array", "items": {"$ref": "#/components/schemas/ScanStatusFilter"}},
        "example": ["QUEUED"],
    }
    assert "required" not in found["page"]


def test_path_parameters_are_required_and_described_by_the_argument_they_fill() -> None:
    scan, engine = PATHS["/api/scans/{scanId}/engines/{engine}/raw"]["get"]["parameters"]

    assert (scan["in"], scan["required"], scan["description"]) == ("path", True, "`scn-…`.")
    assert engine["schema"] == {"$ref": "#/components/schemas/Engine"}


def test_required_query_parameter_must_have_a_text() -> None:
    image = parameters("/api/images/upload", "post")["image"]

    assert (image["required"], image["schema"]) == (True, {"type": "string", "minLength": 1})


def test_body_carries_the_constraints_of_its_input() -> None:
    body = PATHS["/api/scans"]["post"]["requestBody"]
    schema = SCHEMAS["TriggerScanInput"]

    assert body["required"]
    assert list(body["content"]) == ["application/json"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/TriggerScanInput"}
    assert (schema["required"], schema["additionalProperties"]) == (["image", "scanners"], False)
    assert (schema["properties"]["image"]["minLength"], schema["properties"]["image"]["maxLength"]) == (1, 400)
    assert (schema["properties"]["scanners"]["minItems"], schema["properties"]["scanners"]["maxItems"]) == (1, 12)
    assert schema["properties"]["priority"]["minimum"] == -10
    assert schema["properties"]["platform"]["pattern"].startswith("^(?:")


def test_upload_is_a_stream_of_one_of_the_archive_types() -> None:
    content = PATHS["/api/images/upload"]["post"]["requestBody"]["content"]

    assert content["application/x-tar"] == {"schema": {"type": "string", "format": "binary"}}
    assert "application/json" not in content


def declared(operation: str) -> Policy:
    """The policy of the root field behind an operation."""
    document = load_operation(GRAPHQL, read_documents()[operation])
    field = {name: field for _, name, field in root_fields(GRAPHQL)}[document.root_field]
    return policy_of(field.extensions["strawberry-definition"])


@pytest.mark.parametrize("name", [row.operation for row in ROUTES])
def test_demands_are_those_of_the_policy_and_the_role_is_the_lowest_that_meets_them(name: str) -> None:
    operation, policy = OPERATIONS[name], declared(name)
    budget = policy.budget or GENERAL

    assert operation["x-required-permission"] == policy.permission
    assert operation["x-rate-limit"] == {"requests": budget.requests, "windowSeconds": budget.seconds}
    assert operation.get("security", DOCUMENT["security"]) == ([] if policy.public else DOCUMENT["security"])
    if policy.public:
        assert operation["x-required-role"] is None
        return
    lowest = Role(operation["x-required-role"])
    allowed = {role for role in Role if policy.is_open_to(role)}
    assert lowest in allowed
    assert all(ROLE_LEVEL[role] >= ROLE_LEVEL[lowest] for role in allowed)


def test_probes_demand_nothing_and_have_their_own_budget() -> None:
    for name in ("getHealth", "getReadiness"):
        probe = OPERATIONS[name]
        assert (probe["security"], probe["x-required-role"], probe["x-required-permission"]) == ([], None, None)
        assert probe["x-rate-limit"] == {"requests": 600, "windowSeconds": 60}


def test_a_few_demands_word_for_word() -> None:
    found = {
        name: (OPERATIONS[name]["x-required-role"], OPERATIONS[name]["x-required-permission"])
        for name in ("triggerScan", "cancelScan", "deleteScan", "listScans", "getMe", "login")
    }

    assert found == {
        "triggerScan": ("ci", "scans:create"),
        "cancelScan": ("developer", "scans:edit"),
        "deleteScan": ("admin", "scans:delete"),
        "listScans": ("viewer", "scans:view"),
        "getMe": ("viewer", None),
        "login": (None, None),
    }


ANY = {"UNAUTHORIZED", "RATE_LIMITED", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}
BODY = {"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("getHealth", set()),
        ("getMe", {"BAD_REQUEST", "FORBIDDEN"}),  # of a sensor
        ("listScans", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND"}),
        ("getScan", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND"}),
        ("cancelScan", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "CONFLICT"}),
        ("deleteScan", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "CONFLICT"}),
        ("deleteApiKey", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND"}),
        ("triggerScan", {"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "CONFLICT"} | BODY),
        ("uploadImage", {"BAD_REQUEST", "FORBIDDEN", "CONFLICT"} | BODY),
        ("importReport", {"BAD_REQUEST", "FORBIDDEN", "CONFLICT"} | BODY),
        ("completeSetup", {"BAD_REQUEST", "FORBIDDEN", "CONFLICT"} | BODY),
        ("login", {"BAD_REQUEST", "FORBIDDEN"} | BODY),
        ("logout", {"BAD_REQUEST", "FORBIDDEN"}),
    ],
)
def test_operation_lists_the_errors_it_can_give(name: str, errors: set[str]) -> None:
    assert codes(OPERATIONS[name]) == ANY | errors


def test_every_error_of_every_operation_has_an_example_with_its_status() -> None:
    for name, operation in OPERATIONS.items():
        statuses = {int(status) for status in operation["responses"] if int(status) >= 400}
        assert {STATUS_OF[ErrorCode(code)] for code in codes(operation)} == statuses, name


def test_answer_of_a_creation_names_its_headers_and_what_only_rest_adds() -> None:
    response = PATHS["/api/scans"]["post"]["responses"]["202"]
    data = response["content"]["application/json"]["schema"]["properties"]["data"]

    assert {"Location", "Idempotent-Replayed", "X-Request-Id", "X-RateLimit-Remaining"} <= set(response["headers"])
    assert [*resolved(data["allOf"][0])["properties"]] == ["id", "scanId", "status"]
    assert data["allOf"][1]["required"] == ["message", "statusUrl", "url"]


def test_session_cookie_has_the_name_the_server_reads() -> None:
    assert DOCUMENT["components"]["securitySchemes"]["session"]["name"] == SESSION_COOKIE


@on_sqlite
async def test_document_is_served_to_anybody_as_json_and_as_yaml(site: Site) -> None:
    async with site.client() as client:
        as_json = await client.get("/openapi.json")
        as_yaml = await client.get("/openapi/harborguard-v1.yaml")

    assert as_json.headers["content-type"] == "application/json"
    assert as_yaml.headers["content-type"].startswith("application/yaml")
    document = as_json.json()
    requests = site.settings.rate_limit_per_minute
    assert document == yaml.safe_load(as_yaml.text)
    assert document["info"]["version"] == version("harborguard")
    assert document["components"] == DOCUMENT["components"]
    assert document["paths"]["/api/me"]["get"]["x-rate-limit"] == {"requests": requests, "windowSeconds": 60}
    assert "&id" not in as_yaml.text


@on_sqlite
async def test_every_get_route_answers_as_described_and_with_nothing_more(site: Site) -> None:
    object.__setattr__(site.services, "rates", Unlimited())
    estate = await furnish(site, "alpha")
    segments = {name: estate.ids[prefix] for name, prefix in IDS.items()} | PATH_VALUES
    async with site.client() as client:
        await site.sign_in(client, estate.tenant)
        taking = {row.path for row in ROUTES if row.takes}  # of a protocol that is not for people
        asked = [path for path, methods in PATHS.items() if "get" in methods and path not in taking]
        queries = {row.path: query_of(row, estate.ids) for row in ROUTES if row.method == "GET"}
        found = {
            path: problems(path, await client.get(path.format_map(segments), params=queries.get(path)))
            for path in asked
        }

    assert {path: wrong for path, wrong in found.items() if wrong} == {}
    assert len(found) == len([row for row in ROUTES if row.method == "GET" and not row.takes]) + 2


def problems(path: str, response: httpx.Response) -> list[str]:
    described = resolved(PATHS[path]["get"]["responses"].get(str(response.status_code), {}))
    media_type = response.headers["content-type"].partition(";")[0]
    content = described.get("content", {}).get(media_type)
    missing = [name for name in described.get("headers", {}) if name not in response.headers]
    if response.status_code != 200:
        return [f"status {response.status_code}: {response.text}"]
    if "*/*" in described["content"]:
        return missing
    if content is None:
        return [f"{media_type} is not described"]
    schema = content["schema"]
    if media_type == "text/event-stream":
        return missing + [problem for event in events(response.text) for problem in event_problems(schema, event)]
    value = response.text if media_type == "text/csv" else response.json()
    return missing + violations(schema, value)


def events(text: str) -> list[dict[str, str]]:
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return [block for block in blocks if "data" in block]


def event_problems(schema: Any, event: dict[str, str]) -> list[str]:
    content = schema["properties"]["data"]["contentSchema"]
    return violations(schema, event) + violations(content, json.loads(event["data"]))


def test_a_difference_is_noticed() -> None:
    meta = {"page": 1, "pageSize": 50, "total": 0, "totalPages": 0, "hasNext": False, "hasPrev": False}
    schema = {"$ref": "#/components/schemas/Meta"}

    assert violations(schema, meta) == []
    assert violations(schema, meta | {"more": 1}) != []
    assert violations(schema, meta | {"page": "1"}) != []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/scans/scn-1", 404, "NOT_FOUND"),
        ("HEAD", "/api/scans/scn-1", 404, "NOT_FOUND"),
        ("PUT", "/api/scans/scn-1", 405, "METHOD_NOT_ALLOWED"),  # no operation, so nothing is told of it
        ("GET", "/api/nothing", 404, "NOT_FOUND"),
        ("GET", "/api/scans/scn-1/engines/syft/raw", 401, "UNAUTHORIZED"),
    ],
)
async def test_described_answer_passes(method: str, path: str, status: int, code: str) -> None:
    await require_described(answered(method, path, status, code))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/scans/scn-1", 409, "CONFLICT"),
        ("GET", "/api/scans/scn-1", 400, "VALIDATION_ERROR"),  # the status is described, for another error
        ("DELETE", "/api/api-keys/key-1", 409, "CONFLICT"),
        ("GET", "/api/scans", 204, "-"),
    ],
)
async def test_answer_that_is_not_described_is_noticed(method: str, path: str, status: int, code: str) -> None:
    with pytest.raises(AssertionError, match=f"answered {status}.* does not list"):
        await require_described(answered(method, path, status, code))


def answered(method: str, path: str, status: int, code: str) -> httpx.Response:
    request = httpx.Request(method, f"http://test{path}")
    return httpx.Response(status, request=request, json={"error": {"code": code}})


@pytest.mark.parametrize("row", [row for row in ROUTES if row.envelope is Envelope.PAGE], ids=lambda row: row.operation)
def test_pages_are_all_of_one_form(row: Any) -> None:
    schema = PATHS[row.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert schema["required"] == ["data", "meta", "links"]
    assert schema["properties"]["meta"] == {"$ref": "#/components/schemas/Meta"}
