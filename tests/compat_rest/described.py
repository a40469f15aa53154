"""The OpenAPI document, and what a test asks of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx
import jsonschema_rs

from app.middleware import PROBE_BUDGET
from compat_rest.envelopes import STATUS_OF
from compat_rest.openapi import openapi_document
from schema.build import build_schema
from schema.kernel.errors import ErrorCode
from schema.kernel.ports import RateBudget

GRAPHQL = build_schema().graphql
GENERAL = RateBudget(family="general", requests=300, seconds=60)
DOCUMENT = openapi_document(GRAPHQL, version="1.2.3", general=GENERAL, probes=PROBE_BUDGET)
PATHS = DOCUMENT["paths"]
OPERATIONS = {each["operationId"]: each for methods in PATHS.values() for each in methods.values()}
SCHEMAS = DOCUMENT["components"]["schemas"]


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


def codes(operation: Any) -> set[ErrorCode]:
    """Every code an operation lists, told by the example it has under the code's status."""
    return {
        ErrorCode(code)
        for status, response in operation["responses"].items()
        for code, example in resolved(response)
        .get("content", {})
        .get("application/json", {})
        .get("examples", {})
        .items()
        if "error" in example["value"] and str(STATUS_OF[example["value"]["error"]["code"]]) == status
    }


def violations(schema: Any, value: Any) -> list[str]:
    """What is wrong with the value, also a member that is not described, unless the schema puts objects together."""
    whole = {**schema, "components": DOCUMENT["components"]}
    together = any("allOf" in part for part in parts(schema) if isinstance(part, dict))
    validator = jsonschema_rs.validator_for(whole if together else closed(whole), validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def closed(schema: Any) -> Any:
    """The same, but an object has no other members than those described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    return {name: closed(inner) for name, inner in schema.items()} | shut


async def require_described(response: httpx.Response) -> None:
    """Fails for an answer of a route that the document does not tell of."""
    request = response.request
    operation = operation_at("GET" if request.method == "HEAD" else request.method, request.url.path)
    if operation is None or (request.method == "HEAD" and response.status_code == HTTPStatus.METHOD_NOT_ALLOWED):
        return  # a GET that changes something, as sensors' claiming does, has no HEAD
    where = f"{request.method} {request.url.path} answered {response.status_code}"
    assert str(response.status_code) in operation["responses"], f"{where}, {NOT_DESCRIBED}"
    if response.is_error and request.method != "HEAD":
        await response.aread()
        code = response.json().get("error", {}).get("code")
        assert code is None or code in codes(operation), f"{where} {code}, {NOT_DESCRIBED}"


NOT_DESCRIBED = "which its OpenAPI operation does not list: name the code in the description of the schema's root field"


def operation_at(method: str, path: str) -> Any:
    """The operation that answers, None where there is none: another address, or a method it does not have."""
    for template, methods in PATHS.items():
        if re.fullmatch(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template)), path):
            return methods.get(method.lower())
    return None
