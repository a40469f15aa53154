"""The fast path engages: the lists of the REST API complete their rows without the executor going field by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    ExecutionResult,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)
from graphql import execute as graphql_execute
from graphql.pyutils import Path as ResponsePath

import compat_rest
from schema.build import build_schema
from schema.execution.documents import prepare
from schema.execution.executor import CompiledExecutor
from schema.execution.plain import Reading, reading_of

OPERATIONS = Path(compat_rest.__file__).parent / "operations"
LISTS = sorted(path.stem for path in OPERATIONS.glob("list*.graphql"))
ROWS = 3
# Made of dictionaries in a JSON column.
RESOLVED = {
    "listAttestations": "history",
    "listCveAlerts": "changes",
    "listEvents": "details",
    "listScanEngines": "coverage",
    "listScanFindings": "severities",
    "listSensors": "scannerVersions",
}
VARIABLES = dict.fromkeys(("id", "scanId", "imageId", "registryId", "tagId", "vulnId", "name"), "id-1") | {
    "field": "cveId"
}

SCALARS: dict[str, Any] = {
    "String": "a text",
    "ID": "id-1",
    "Int": 1,
    "Long": 2**40,
    "Float": 1.5,
    "Boolean": True,
    "DateTime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "JSON": {"key": ["value"]},
}


@cache
def schema() -> GraphQLSchema:
    return build_schema().graphql


class Row:
    """A plain object: it has the attributes that the plain fields of its type read, and nothing else."""


def _value(kind: GraphQLOutputType) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return _value(kind.of_type)
    if isinstance(kind, GraphQLList):
        return [_value(kind.of_type) for _ in range(ROWS)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.wrapped_cls))  # type: ignore[attr-defined]  # strawberry's, which knows its Python enum
    if isinstance(kind, GraphQLAbstractType):
        return _row(schema().get_possible_types(kind)[0])
    return SCALARS[kind.name] if is_leaf_type(kind) else _row(kind)


def _row(kind: Any) -> Any:
    assert isinstance(kind, GraphQLObjectType)
    row = object.__new__(kind.extensions["strawberry-definition"].origin) if kind.interfaces else Row()
    for name, value in _attributes(kind):
        setattr(row, name, value)
    return row


def _attributes(kind: GraphQLObjectType) -> Iterator[tuple[str, Any]]:
    for field in kind.fields.values():
        match reading_of(field):
            case (Reading.ATTRIBUTE, name):
                yield name, _value(field.type)
            case (Reading.SOURCE, _):
                part = get_named_type(field.type)
                assert isinstance(part, GraphQLObjectType)
                yield from _attributes(part)


class Counting(CompiledExecutor):
    """Has made-up values for the fields it is asked to execute, and notes where there are rows above them."""

    per_row: list[list[str | int]]

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, details: Any, path: ResponsePath, context: Any
    ) -> Any:
        keys = path.as_list()
        if any(isinstance(key, int) for key in keys):
            self.per_row.append(keys)
        field = self.schema.get_field(parent_type, details[0].node.name.value)
        assert field is not None
        info = self.build_resolve_info(field, [each.node for each in details], parent_type, path)
        return self.complete_value(field.type, details, info, path, _value(field.type), context)


def executed(text: str) -> tuple[Any, list[list[str | int]]]:
    """The data of an operation on made-up rows, and the fields of rows that were executed one by one."""
    operation = prepare(schema(), text).operation(None)
    assert operation is not None
    per_row: list[list[str | int]] = []
    result = graphql_execute(
        schema(),
        operation.document,
        variable_values=VARIABLES,
        executor_class=type("CountingHere", (Counting,), {"per_row": per_row}),
        plan=operation.plan,
    )
    assert isinstance(result, ExecutionResult)
    assert not result.errors
    return result.data, per_row


def _rows(data: Any) -> Any:
    while isinstance(data, dict):
        data = data["items"] if "items" in data else next(iter(data.values()))
    return data


@pytest.mark.parametrize("operation", LISTS)
def test_no_field_of_a_row_is_executed_by_the_book(operation: str) -> None:
    data, per_row = executed((OPERATIONS / f"{operation}.graphql").read_text())

    assert [keys for keys in per_row if keys[-1] != RESOLVED.get(operation)] == []
    assert len(_rows(data)) == ROWS


def test_a_field_that_is_no_longer_plain_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    query: Any = schema().query_type
    page: Any = get_named_type(query.fields["scans"].type)
    row: Any = get_named_type(page.fields["items"].type)
    monkeypatch.setattr(row.fields["status"], "resolve", lambda source, _info: source.status)

    _, per_row = executed((OPERATIONS / "listScans.graphql").read_text())

    assert per_row == [["scans", "items", index, "status"] for index in range(ROWS)]
