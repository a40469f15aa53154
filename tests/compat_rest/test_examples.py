"""Examples of the OpenAPI document: each fits its schema, and what a caller is shown to send really works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from compat_rest.examples import Examples, example_id
from compat_rest.routes import ROUTES
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import Role
from tests.app.site import Site, on_sqlite, site
from tests.compat_rest.described import DOCUMENT, OPERATIONS, PATHS, resolved, violations
from tests.isolation.estate import Unlimited

__all__ = ["site"]


def shown(operation: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where, the schema, and the example, of everything an operation takes and gives."""
    for parameter in operation["parameters"]:
        if "example" in parameter:  # a filter by an id has none
            yield parameter["name"], parameter["schema"], parameter["example"]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from examples_of(f"body {media_type}", content)
    for status, response in operation["responses"].items():
        for name, header in resolved(response)["headers"].items():
            yield f"{status} {name}", resolved(header)["schema"], resolved(header)["example"]
        for media_type, content in resolved(response).get("content", {}).items():
            yield from examples_of(f"{status} {media_type}", content)


def examples_of(where: str, content: Any) -> Iterator[tuple[str, Any, Any]]:
    schema = content.get("schema", {"format": "binary"})
    if "example" in content:
        yield where, schema, content["example"]
    for name, example in content.get("examples", {}).items():
        yield f"{where} {name}", schema, example["value"]
    if schema.get("format") != "binary" and not {"example", "examples"} & set(content):  # bytes cannot be shown in JSON
        pytest.fail(f"{where} has no example")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_example_fits_its_schema(name: str) -> None:
    found = {where: violations(schema, example) for where, schema, example in shown(OPERATIONS[name])}

    assert {where: wrong for where, wrong in found.items() if wrong} == {}, (
        "say a better one in compat_rest/examples.py"
    )
    assert len(found) >= 6


def test_example_of_an_event_carries_an_example_of_its_data() -> None:
    content = OPERATIONS["followScan"]["responses"]["200"]["content"]["text/event-stream"]

    data = json.loads(content["example"]["data"])
    assert data["status"] == "IN_PROGRESS"
    assert violations(content["schema"]["properties"]["data"]["contentSchema"], data) == []


def test_one_thing_has_one_id_wherever_it_is_told_of() -> None:
    trigger, get = OPERATIONS["triggerScan"], OPERATIONS["getScan"]
    answer = trigger["responses"]["202"]["content"]["application/json"]["example"]["data"]

    assert get["parameters"][0]["example"] == answer["id"] == answer["scanId"]
    assert answer["statusUrl"] == f"/api/scans/{answer['id']}/status"
    assert resolved(trigger["responses"]["202"]["headers"]["Location"])["example"] == answer["statusUrl"]


@pytest.mark.parametrize("prefix", IdPrefix)
def test_ids_have_the_form_of_real_ones(prefix: IdPrefix) -> None:
    made, real = example_id(prefix), new_id(prefix)

    assert (len(made), made.partition("-")[0]) == (len(real), real.partition("-")[0])
    assert set(made.partition("-")[2]) <= set("0123456789abcdefghijklmnopqrstuv")


ENUM = {"type": "string", "enum": ["red", "green"]}


@pytest.mark.parametrize(
    ("name", "schema", "example"),
    [
        ("id", {"type": "string", "description": "`scn-…`."}, example_id("scn")),
        ("lastScanId", {"type": "string"}, example_id("scn")),
        ("registryId", {"type": "string"}, example_id("reg")),
        ("registryId", {"type": ["string", "null"]}, None),
        ("secret", {"type": "string", "description": "`hg_ak_…`, once."}, "hg_ak_" + "0123456789abcdef" * 3),
        ("host", {"type": "string", "description": "A host, like `quay.io`."}, "quay.io"),
        ("sort", {"type": "string", "description": "a, b; default b:desc."}, "b:desc"),
        ("sort", {"type": "string", "description": "a, b; default: none."}, "sort"),
        ("retryPolicy", {"type": "string"}, "retry policy"),
        ("retryPolicy", {"type": "string", "minLength": 14, "maxLength": 20}, "retry policy.."),
        ("retryPolicy", {"type": "string", "maxLength": 5}, "retry"),
        ("layerDigest", {"type": "string"}, "sha256:265400d4c34a0320ea881e0f4893fb10505bb108b6188b942b4ac5fe4d2681db"),
        ("seenAt", {"type": "string", "format": "date-time"}, "2026-04-26T14:22:11.000Z"),
        ("some", {"type": "integer"}, 1),
        ("some", {"type": "integer", "minimum": 5}, 5),
        ("some", {"type": "integer", "minimum": -9, "maximum": -2}, -2),
        ("some", {"type": "integer", "default": 50}, 50),
        ("some", {"type": "boolean"}, False),
        ("some", {"type": "array", "items": ENUM}, ["red"]),
        ("some", {"const": "ok"}, "ok"),
        ("some", {"anyOf": [{"$ref": "#/components/schemas/Colour"}, {"type": "null"}]}, "red"),
        ("some", {"$ref": "#/components/schemas/Colour", "description": "Default green."}, "green"),
        ("some", {"$ref": "#/components/schemas/Colour", "description": "Default blue."}, "red"),
        # A name with a value of its own, where its schema takes such a value and where it does not.
        ("fixable", {"type": "integer"}, 7),
        ("fixable", {"type": "boolean"}, False),
    ],
)
def test_value_is_read_off_the_schema(name: str, schema: Any, example: Any) -> None:
    assert Examples({"Colour": ENUM}).of(schema, name, "Anything") == example


def test_optional_reference_of_a_request_is_left_out() -> None:
    fields = {name: {"type": "string"} for name in ("registryId", "imageId", "note")}

    found = Examples({}).of({"type": "object", "properties": fields, "required": ["imageId"]})

    assert found == {"imageId": example_id("img"), "note": "note"}


@on_sqlite
async def test_bodies_shown_are_accepted(site: Site) -> None:
    """An owner sends each example; the two that need a secret nobody can make up are understood, and refused for it."""
    object.__setattr__(site.services, "rates", Unlimited())
    tenant = await site.tenant("acme", Role.ADMIN)
    answers = {}
    for path, methods in PATHS.items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "example" in content.get("application/json", {}):  # an archive has none
            query = {
                each["name"]: each["example"]
                for each in map(resolved, methods["post"].get("parameters", ()))
                if each["in"] == "query" and each.get("required")
            }
            async with site.client(headers={"X-HarborGuard-Client": "test"}) as client:
                if not path.startswith(("/api/setup", "/api/auth")):
                    await site.sign_in(client, tenant)
                response = await client.post(path, params=query, json=content["application/json"]["example"])
                answers[path] = response.status_code

    assert answers.pop("/api/setup") == 409  # the site is set up
    assert answers.pop("/api/auth/login") == 401
    assert answers.pop("/api/webhooks/{provider}") == 401
    assert answers.pop("/api/registries/test-connection") == 200  # it makes nothing
    assert answers.pop("/api/vulnerabilities/triage") == 200  # and tells of each by itself that it is not there
    assert answers.pop("/api/attestations/import") == 200  # the same of each statement
    assert answers.pop("/api/attestations") == 400  # nobody has found that flaw
    protocol = {row.path for row in ROUTES if row.tag == "sensor-protocol"}
    assert {answers.pop(path) for path in [*answers] if path in protocol} == {403}  # see test_sensor_protocol.py
    assert len(answers) >= 3
    # A body that is understood, for a thing that is not there.
    assert {answers.pop(path) for path in [*answers] if "Id}" in path} == {404}
    assert {path: status for path, status in answers.items() if status not in {201, 202}} == {}


def test_document_names_nobody_real() -> None:
    text = json.dumps(DOCUMENT)

    assert "@acme.example" in text
    assert not [part for part in text.split('"') if "@" in part and ".com" in part]
