"""The document in OpenAPI 3.0: valid there, and meaning the same."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from compat_rest.openapi_30 import as_openapi_30, schema_30
from tests.app.site import Site, on_sqlite, site
from tests.compat_rest.described import DOCUMENT, OPERATIONS, parts
from tests.compat_rest.test_examples import examples_of

__all__ = ["site"]

TOLD = as_openapi_30(DOCUMENT)
SCHEMAS = TOLD["components"]["schemas"]


def takes(schema: Any, value: Any) -> bool:
    """Whether an independent validator of 3.0 takes the value."""
    return bool(OAS30Validator({**schema, "components": TOLD["components"]}).is_valid(value))


def test_document_is_openapi_30() -> None:
    assert TOLD["openapi"] == "3.0.3"
    assert [error.message for error in OpenAPIV30SpecValidator(TOLD).iter_errors()] == []


def test_the_same_operations_with_the_same_demands_are_told() -> None:
    told = {each["operationId"]: each for methods in TOLD["paths"].values() for each in methods.values()}

    assert told.keys() == OPERATIONS.keys()
    for name, operation in told.items():
        assert operation["responses"].keys() == OPERATIONS[name]["responses"].keys()
        for key in ("x-required-role", "x-required-permission", "x-rate-limit", "tags", "security"):
            assert operation.get(key) == OPERATIONS[name].get(key)


def test_nothing_of_31_is_left() -> None:
    schemas = [part for part in parts(TOLD) if isinstance(part, dict) and isinstance(part.get("type"), str | list)]

    assert len(schemas) > 200
    assert [each for each in schemas if isinstance(each["type"], list) or each["type"] == "null"] == []
    assert [each for each in parts(SCHEMAS) if isinstance(each, dict) and "$ref" in each and len(each) > 1] == []
    assert TOLD["info"]["license"] == {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}


def test_every_example_fits_its_schema() -> None:
    contents = [
        content
        for part in parts(TOLD)
        if isinstance(part, dict) and isinstance(part.get("content"), dict)
        for content in part["content"].values()
    ]
    shown = [each for content in contents for each in examples_of("", content)]

    assert len(shown) > 40
    assert [example for _, schema, example in shown if not takes(schema, example)] == []


def test_bytes_have_a_schema() -> None:
    path = TOLD["paths"]["/api/scans/{scanId}/engines/{engine}/raw"]["get"]

    assert path["responses"]["200"]["content"] == {"*/*": {"schema": {"type": "string", "format": "binary"}}}


def test_the_document_itself_is_not_changed() -> None:
    before = copy.deepcopy(DOCUMENT)
    as_openapi_30(DOCUMENT)

    assert before == DOCUMENT


def test_webhooks_and_path_items_of_31_are_left_out() -> None:
    document = {**DOCUMENT, "webhooks": {"scan": {}}, "components": {**DOCUMENT["components"], "pathItems": {"a": {}}}}

    assert as_openapi_30(document) == TOLD


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": ["string", "null"], "maxLength": 5}, {"type": "string", "nullable": True, "maxLength": 5}),
        ({"type": ["string", "null"], "enum": ["a"]}, {"type": "string", "nullable": True, "enum": ["a"]}),
        ({"type": "null"}, {"nullable": True, "enum": [None]}),
        ({"type": "null", "enum": ["a"]}, {"not": {}}),
        (
            {"anyOf": [{"$ref": "#/components/schemas/Grade"}, {"type": "null"}], "description": "d"},
            {"anyOf": [{"$ref": "#/components/schemas/Grade"}, {"nullable": True, "enum": [None]}], "description": "d"},
        ),
        ({"const": "ok"}, {"enum": ["ok"]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 9, "maximum": 7}, {"maximum": 7}),
        ({"exclusiveMaximum": 7, "maximum": 9}, {"maximum": 7, "exclusiveMaximum": True}),
        ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        (
            {"$ref": "#/components/schemas/Role", "description": "d"},
            {"allOf": [{"$ref": "#/components/schemas/Role"}], "description": "d"},
        ),
        ({"$ref": "#/components/schemas/Role"}, {"$ref": "#/components/schemas/Role"}),
        (
            {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": {"const": 2}},
            {"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": {"enum": [2]}},
        ),
        (
            {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "null"}},
            {"type": "string"},
        ),
    ],
)
def test_schema_is_retold(schema: Any, told: Any) -> None:
    assert schema_30(schema) == told


def test_a_constant_beside_an_enum_is_refused() -> None:
    with pytest.raises(ValueError, match="const beside enum"):
        schema_30({"const": "a", "enum": ["a"]})


@pytest.mark.parametrize("keyword", ["if", "patternProperties", "prefixItems", "unevaluatedProperties", "$dynamicRef"])
def test_what_cannot_be_told_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match=f"no word for {keyword.replace('$', '[$]')}"):
        schema_30({"type": "array", "items": {keyword: {}}})


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "bb", "ccc"])
kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
bounds = st.integers(-3, 3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
keywords: dict[str, st.SearchStrategy[Any]] = {
    "type": kinds | st.lists(kinds, min_size=1, max_size=4, unique=True),
    "enum": st.lists(scalars, min_size=1, max_size=4),
    "const": scalars,
    "minimum": bounds,
    "maximum": bounds,
    "exclusiveMinimum": bounds,
    "exclusiveMaximum": bounds,
    "minLength": st.integers(0, 3),
    "maxItems": st.integers(0, 3),
    "required": st.lists(st.sampled_from("ab"), min_size=1, unique=True),
}
schemas = st.recursive(
    st.fixed_dictionaries({}, optional=keywords),
    lambda inner: st.fixed_dictionaries(
        {},
        optional=keywords
        | {
            "items": inner,
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=4,
)


@given(schema=schemas, value=values)
def test_retold_schema_takes_what_the_schema_takes(schema: Any, value: Any) -> None:
    """Two validators, one of each dialect, agree on whatever value."""
    assume(not any({"const", "enum"} <= part.keys() for part in parts(schema) if isinstance(part, dict)))
    wanted = jsonschema_rs.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})

    assert OAS30Validator(schema_30(schema)).is_valid(value) == wanted.is_valid(value)


@on_sqlite
async def test_document_is_served_to_anybody(site: Site) -> None:
    async with site.client() as client:
        whole, told = await client.get("/openapi.json"), await client.get("/openapi-3.0.json")

    assert told.headers["content-type"] == "application/json"
    assert told.json() == as_openapi_30(whole.json())
