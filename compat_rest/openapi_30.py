"""An OpenAPI 3.1 document told in OpenAPI 3.0.3, for tools that do not read 3.1 yet.

3.1 speaks JSON Schema (draft 2020-12), 3.0 a dialect of its own (https://spec.openapis.org/oas/v3.0.3#schema-object). What
3.0 has no word for is left out where a reader only learns less by it; any other keyword that is not known here is refused,
because it might forbid something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compat_rest.shapes import Json

# Keywords of a schema that mean the same in both.
_SAME = frozenset(
    {
        "$ref", "default", "deprecated", "description", "enum", "example", "externalDocs", "format",
        "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum",
        "multipleOf", "pattern", "readOnly", "required", "title", "type", "uniqueItems", "writeOnly",
    }
)  # fmt: skip
# Remarks, and what a text is when it is read as something else.
_LEFT_OUT = frozenset({"$comment", "$schema", "contentMediaType", "contentSchema"})
_RETOLD = frozenset({"const", "examples", "exclusiveMinimum", "exclusiveMaximum"})
_LICENCES = {"Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0"}
_BYTES: Json = {"type": "string", "format": "binary"}


def as_openapi_30(document: Json) -> Json:
    """The same API; the document given is left as it is. Raises ValueError for what cannot be told."""
    told = {name: value for name, value in document.items() if name not in {"webhooks", "jsonSchemaDialect"}}
    return told | {
        "openapi": "3.0.3",
        "info": _info(document["info"]),
        "paths": _each(document["paths"], _path_item),
        "components": {
            name: _each(parts, _COMPONENTS[name])
            for name, parts in document.get("components", {}).items()
            if name != "pathItems"
        },
    }


def schema_30(schema: Json) -> Json:
    """A schema of 3.1 as one of 3.0. Raises ValueError for a keyword that cannot be told."""
    unknown = set(schema) - _SAME - _LEFT_OUT - _RETOLD - set(_APPLIED)
    if unknown:
        msg = f"OpenAPI 3.0 has no word for {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    told = {keyword: value for keyword, value in schema.items() if keyword in _SAME}
    told |= {keyword: _APPLIED[keyword](value) for keyword, value in schema.items() if keyword in _APPLIED}
    if "const" in schema:
        if "enum" in schema:
            msg = "const beside enum says one thing twice"
            raise ValueError(msg)
        told["enum"] = [schema["const"]]
    if schema.get("examples"):
        told.setdefault("example", schema["examples"][0])
    return _with_plain_reference(_with_nullable(_with_exclusive_bounds(told, schema)))


def _with_exclusive_bounds(told: Json, schema: Json) -> Json:
    """In 3.0 a bound is one number, and a mark beside it says that the number itself is outside."""
    for bound, exclusive, tighter in (("minimum", "exclusiveMinimum", max), ("maximum", "exclusiveMaximum", min)):
        limit = schema.get(exclusive)
        if limit is not None and tighter(limit, schema.get(bound, limit)) == limit:
            told |= {bound: limit, exclusive: True}
    return told


def _with_nullable(told: Json) -> Json:
    """3.0 knows one type at most, no type null, and `nullable` beside a type."""
    kinds = told.pop("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    plain = [kind for kind in kinds if kind != "null"]
    if len(plain) > 1:
        return {"allOf": [told, {"anyOf": [_with_nullable({"type": [kind, *_null_of(kinds)]}) for kind in plain]}]}
    if plain:
        told["type"] = plain[0]
        if plain == ["array"]:
            told.setdefault("items", {})
    if "null" in kinds:
        told["nullable"] = True
    if kinds and not plain:
        if None not in told.get("enum", [None]):
            return {"not": {}}
        told["enum"] = [None]
    return told


def _null_of(kinds: list[str]) -> list[str]:
    return [kind for kind in kinds if kind == "null"]


def _with_plain_reference(told: Json) -> Json:
    """In 3.0 nothing counts beside a reference, so what stands beside it is put around it."""
    if "$ref" not in told or len(told) == 1:
        return told
    reference = {"$ref": told.pop("$ref")}
    return told | {"allOf": [reference, *told.get("allOf", [])]}


def _each(parts: Mapping[str, Any], tell: Callable[[Any], Any]) -> Json:
    return {name: tell(part) for name, part in parts.items()}


def _all(parts: list[Any]) -> list[Any]:
    return [schema_30(part) for part in parts]


_APPLIED: Mapping[str, Callable[[Any], Any]] = {
    "properties": lambda parts: _each(parts, schema_30),
    "items": schema_30,
    "additionalProperties": lambda value: value if isinstance(value, bool) else schema_30(value),
    "allOf": _all,
    "anyOf": _all,
    "oneOf": _all,
    "not": schema_30,
}


def _info(info: Json) -> Json:
    told = {name: value for name, value in info.items() if name != "summary"}
    licence = dict(info.get("license", {}))
    identifier = licence.pop("identifier", None)
    if identifier in _LICENCES:
        licence["url"] = _LICENCES[identifier]
    return told | ({"license": licence} if licence else {})


def _path_item(item: Json) -> Json:
    """A path's methods; whatever stands beside them is no object with responses."""
    return {
        name: _operation(part) if isinstance(part, dict) and "responses" in part else part
        for name, part in item.items()
    }


def _operation(operation: Json) -> Json:
    told = operation | {"responses": _each(operation["responses"], _response)}
    if "parameters" in operation:
        told["parameters"] = [_described_value(each) for each in operation["parameters"]]
    if "requestBody" in operation:
        told["requestBody"] = _body(operation["requestBody"])
    return told


def _response(response: Json) -> Json:
    told = _body(response)
    return told | {"headers": _each(response["headers"], _described_value)} if "headers" in response else told


def _body(body: Json) -> Json:
    return body | {"content": _each(body["content"], _media_type)} if "content" in body else body


def _media_type(media_type: Json) -> Json:
    """In 3.1 no schema means bytes of any kind; in 3.0 a schema says so."""
    return media_type | {"schema": schema_30(media_type["schema"]) if "schema" in media_type else _BYTES}


def _described_value(value: Json) -> Json:
    """A parameter or a header."""
    return value | {"schema": schema_30(value["schema"])} if "schema" in value else value


_COMPONENTS: Mapping[str, Callable[[Any], Any]] = {
    "schemas": schema_30,
    "responses": _response,
    "headers": _described_value,
    "parameters": _described_value,
    "requestBodies": _body,
    "securitySchemes": dict,
    "examples": dict,
}
