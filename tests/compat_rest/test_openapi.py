"""The document itself, and the real application held against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from app.authentication import SESSION_COOKIE
from compat_rest.openapi import openapi_document
from compat_rest.routes import ROUTES, Envelope
from schema.build import build_schema
from schema.kernel.ids import IdPrefix
from schema.kernel.ports import RateBudget
from tests.app.site import Site, on_sqlite, site
from tests.isolation.estate import Unlimited, furnish

__all__ = ["site"]

DOCUMENT = openapi_document(
    build_schema().graphql, version="1.2.3", general=RateBudget(family="general", requests=300, seconds=60)
)
PATHS = DOCUMENT["paths"]
SCHEMAS = DOCUMENT["components"]["schemas"]
IDS = {
    "scanId": IdPrefix.SCAN,
    "imageId": IdPrefix.IMAGE,
    "vulnId": IdPrefix.VULNERABILITY,
    "keyId": IdPrefix.API_KEY,
    "tokenId": IdPrefix.PERSONAL_ACCESS_TOKEN,
}


def parts(node: Any) -> Iterator[Any]:
    yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(inner)


def resolved(node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def parameters(path: str, method: str = "get") -> dict[str, Any]:
    return {each["name"]: each for each in PATHS[path][method]["parameters"]}


def test_document_is_openapi_31_and_its_schemas_are_json_schema() -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    references = {part["$ref"] for part in parts(DOCUMENT) if isinstance(part, dict) and "$ref" in part}
    components = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers", "responses")
        for name in DOCUMENT["components"][kind]
    }

    assert references <= components
    # An answer no operation gives: one by method, one by plan. Both are codes of the contract all the same.
    assert components - references == {"#/components/responses/MethodNotAllowed", "#/components/responses/PlanLimit"}


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

    assert list(found) == ["page", "limit", "sort", "status", "search"]
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

    assert body == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TriggerScanInput"}}},
    }
    assert (schema["required"], schema["additionalProperties"]) == (["image", "scanners"], False)
    assert (schema["properties"]["image"]["minLength"], schema["properties"]["image"]["maxLength"]) == (1, 400)
    assert (schema["properties"]["scanners"]["minItems"], schema["properties"]["scanners"]["maxItems"]) == (1, 12)
    assert schema["properties"]["priority"]["minimum"] == -10
    assert schema["properties"]["platform"]["pattern"].startswith("^(?:")


def test_upload_is_a_stream_of_one_of_the_archive_types() -> None:
    content = PATHS["/api/images/upload"]["post"]["requestBody"]["content"]

    assert content["application/x-tar"] == {"schema": {"type": "string", "format": "binary"}}
    assert "application/json" not in content


def test_demands_come_from_the_policy() -> None:
    trigger, me, login = (
        PATHS["/api/scans"]["post"],
        PATHS["/api/me"]["get"],
        PATHS["/api/auth/login"]["post"],
    )

    assert (trigger["x-required-role"], trigger["x-required-permission"]) == ("ci", "scans:create")
    assert (me["x-required-role"], "x-required-permission" in me, "403" in me["responses"]) == ("viewer", False, False)
    assert (login["security"], "x-required-role" in login) == ([], False)
    assert me["x-rate-limit"] == {"requests": 300, "windowSeconds": 60}
    assert trigger["x-rate-limit"] == {"requests": 10, "windowSeconds": 60}


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
    segments = {name: estate.ids[prefix] for name, prefix in IDS.items()} | {"engine": "syft"}
    async with site.client() as client:
        await site.sign_in(client, estate.tenant)
        asked = [path for path, methods in PATHS.items() if "get" in methods]
        found = {path: problems(path, await client.get(path.format_map(segments))) for path in asked}

    assert {path: wrong for path, wrong in found.items() if wrong} == {}
    assert len(found) == len([row for row in ROUTES if row.method == "GET"]) + 2


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
    return missing + violations(schema, response.json())


def violations(schema: Any, value: Any) -> list[str]:
    validator = jsonschema_rs.validator_for(
        {**closed(schema), "components": closed(DOCUMENT["components"])}, validate_formats=True
    )
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def closed(schema: Any) -> Any:
    """The same, but an object has no other members than those described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    return {name: closed(inner) for name, inner in schema.items()} | shut


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


@pytest.mark.parametrize("row", [row for row in ROUTES if row.envelope is Envelope.PAGE], ids=lambda row: row.operation)
def test_pages_are_all_of_one_form(row: Any) -> None:
    schema = PATHS[row.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert schema["required"] == ["data", "meta", "links"]
    assert schema["properties"]["meta"] == {"$ref": "#/components/schemas/Meta"}
