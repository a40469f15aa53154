"""Executing a request: what resolvers are told, the order of things, errors, and what is asked for in vain."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    build_schema,
    execute,
    execute_sync,
    parse,
)

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.runs import described, only_error, operation_of, planned, run


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


def test_arbitrary_code_is_executed() -> None:
    """Values, callables, awaitables, lists and nests, read off attributes and items alike."""
    schema = build_schema("""
        type Query { a: String, b: String, e: String, f: String, pic(size: Int): String, deep: Deep, promise: Query }
        type Deep { a: String, b: String, c: [String], deeper: [Query] }
    """)

    class Data:
        a = "Apple"
        e = None

        def b(self, _info: Any) -> str:
            return "Banana"

        async def f(self, _info: Any) -> str:
            return str(await later("Fish"))

        def pic(self, _info: Any, size: int = 50) -> str:
            return f"Pic of size: {size}"

        def deep(self, _info: Any) -> Any:
            return {
                "a": "Already",
                "b": lambda _info: "Boring",
                "c": ["x", None, lambda: "y"][:2],
                "deeper": [Data(), None],
            }

        def promise(self, _info: Any) -> Any:
            return later(Data())

    text = """
        query ($size: Int) {
            a b x: e ...c
            f ...on Query { pic(size: $size) promise { a } }
            deep { a b c deeper { a b } }
        }
        fragment c on Query { deep { a } again: pic }
    """
    data, errors = described(run(schema, text, Data(), {"size": 100}))

    assert errors == []
    assert data == {
        "a": "Apple",
        "b": "Banana",
        "x": None,
        "deep": {
            "a": "Already",
            "b": "Boring",
            "c": ["x", None],
            "deeper": [{"a": "Apple", "b": "Banana"}, None],
        },
        "again": "Pic of size: 50",
        "f": "Fish",
        "pic": "Pic of size: 100",
        "promise": {"a": "Apple"},
    }
    assert list(data) == ["a", "b", "x", "deep", "again", "f", "pic", "promise"]


def test_fields_selected_at_several_places_are_merged_in_the_order_of_their_first_one() -> None:
    schema = build_schema("type Query { a: String, b: String, deep: Query }")
    text = """
        { a ...F ...G }
        fragment F on Query { b deep { b deeper: deep { b } } }
        fragment G on Query { deep { a deeper: deep { a } } a }
    """
    leaf = {"a": "A", "b": "B"}
    root = {**leaf, "deep": {**leaf, "deep": leaf}}

    data = run(schema, text, root).data

    assert data == {"a": "A", "b": "B", "deep": {"b": "B", "deeper": {"b": "B", "a": "A"}, "a": "A"}}
    assert list(data["deep"]) == ["b", "deeper", "a"]
    assert list(data["deep"]["deeper"]) == ["b", "a"]


def test_a_resolver_is_told_of_everything() -> None:
    seen = []
    schema = build_schema("type Query { rows: [Row!] } type Row { test(a: Int): String }")
    schema.type_map["Row"].fields["test"].resolve = lambda source, info, **given: seen.append((source, info, given))  # type: ignore[attr-defined]
    document = parse("query ($v: String, $n: Int = 3) { rows { result: test(a: $n) } }")

    planned(
        schema,
        document,
        root_value={"rows": [{"id": 1}, {"id": 2}]},
        context_value="the context",
        variable_values={"v": "x"},
    )

    assert [each[0] for each in seen] == [{"id": 1}, {"id": 2}]
    assert [each[2] for each in seen] == [{"a": 3}] * 2
    for index, (_, info, _) in enumerate(seen):
        assert info.field_name == "test"
        assert info.parent_type is schema.type_map["Row"]
        assert info.return_type is GraphQLString
        assert info.path.as_list() == ["rows", index, "result"]
        assert [info.path.typename, info.path.prev.typename, info.path.prev.prev.typename] == ["Row", None, "Query"]
        assert [node.name.value for node in info.field_nodes] == ["test"]
        assert info.schema is schema
        assert info.context == "the context"
        assert info.variable_values == {"v": "x", "n": 3}
        assert info.operation is operation_of(document)
        assert info.fragments == {}


def test_a_callable_of_the_data_is_given_arguments_and_a_path() -> None:
    seen = []

    def test(info: Any, **given: Any) -> str:
        seen.append((info.path.as_list(), info.field_nodes[0].name.value, given))
        return "called"

    schema = build_schema(
        "type Query { rows: [[Row]] } type Row { test(a: Int, b: [Int] = [1]): String, plain: String }"
    )
    root = {"rows": [[{"test": test, "plain": lambda info: str(info.path.as_list())}]]}
    data = planned(schema, parse("{ rows { x: test(a: 1) test y: plain } }"), root_value=root).data

    assert data == {"rows": [[{"x": "called", "test": "called", "y": "['rows', 0, 0, 'y']"}]]}
    assert seen == [
        (["rows", 0, 0, "x"], "test", {"a": 1, "b": [1]}),
        (["rows", 0, 0, "test"], "test", {"b": [1]}),
    ]


def test_nullable_subtrees_are_null_where_their_fields_fail() -> None:
    schema = build_schema("""
        type Query { sync: String, syncError: String, syncReturnError: String, syncList: [String],
                     late: String, lateError: String, lateReturnError: String, nothing: Query, odd: String }
    """)

    def fail(_info: Any) -> str:
        raise LookupError("failed at once")

    root = {
        "sync": "sync",
        "syncError": fail,
        "syncReturnError": lambda _info: ValueError("returned"),
        "syncList": lambda _info: [
            "sync0",
            ValueError("item"),
            "sync2",
            later(ValueError("late item")),
            later("sync4"),
        ],
        "late": lambda _info: later("late"),
        "lateError": lambda _info: later(LookupError("failed late")),
        "lateReturnError": lambda _info: _returning(ValueError("returned late")),
    }
    text = "{ sync syncError syncReturnError syncList late lateError lateReturnError nothing { sync } }"
    result = run(schema, text, root)

    assert result.data == {
        "sync": "sync",
        "syncError": None,
        "syncReturnError": None,
        "syncList": ["sync0", None, "sync2", None, "sync4"],
        "late": "late",
        "lateError": None,
        "lateReturnError": None,
        "nothing": None,
    }
    found = {tuple(error.path or ()): (error.message, type(error.original_error)) for error in result.errors or ()}
    assert found == {
        ("syncError",): ("failed at once", LookupError),
        ("syncReturnError",): ("returned", ValueError),
        ("syncList", 1): ("item", ValueError),
        ("syncList", 3): ("late item", ValueError),
        ("lateError",): ("failed late", LookupError),
        ("lateReturnError",): ("returned late", ValueError),
    }


async def _returning(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_errors_keep_their_extensions_and_are_placed_in_the_document() -> None:
    schema = build_schema("type Query { a: Deep } type Deep { b: [Deep!], c: String! }")

    class Rows:
        @property
        def c(self) -> str:
            raise GraphQLError("no c", extensions={"code": "NO_C"})

    result = run(schema, "{\n  a {\n    b {\n      c\n    }\n  }\n}", {"a": {"b": [{"c": "fine"}, Rows()]}})

    assert result.data == {"a": {"b": None}}
    error = only_error(result)
    assert (error.path, error.extensions) == (["a", "b", 1, "c"], {"code": "NO_C"})
    assert [each.formatted for each in error.locations or ()] == [{"line": 4, "column": 7}]


def test_merged_fields_share_an_error_with_all_their_places() -> None:
    schema = build_schema("type Query { a: String }")

    def fail(_info: Any) -> str:
        raise ValueError("failed")

    error = only_error(run(schema, "{ a ... { a } }", {"a": fail}))
    assert [each.formatted for each in error.locations or ()] == [{"line": 1, "column": 3}, {"line": 1, "column": 11}]


DOCUMENT = "query One { a } query Two { b: a } mutation Three { c } subscription Four { a }"
OPERATIONS = build_schema("type Query { a: String } type Mutation { c: String } type Subscription { a: String }")


@pytest.mark.parametrize(
    ("name", "data"), [("One", {"a": "A"}), ("Two", {"b": "A"}), ("Three", {"c": "C"}), ("Four", {"a": "A"})]
)
def test_the_operation_that_is_named_is_executed_on_its_root_type(name: str, data: Any) -> None:
    assert planned(OPERATIONS, parse(DOCUMENT), name, root_value={"a": "A", "c": "C"}).data == data


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "Must provide operation name if query contains multiple operations."),
        ("Five", "Unknown operation named 'Five'."),
    ],
)
def test_without_an_operation_there_is_an_error(name: str | None, message: str) -> None:
    document = parse(DOCUMENT)
    plan = Plan(OPERATIONS, document, operation_of(document))
    result: Any = execute(OPERATIONS, document, operation_name=name, executor_class=CompiledExecutor, plan=plan)
    assert (result.data, [error.message for error in result.errors]) == (None, [message])


def test_a_root_type_the_schema_does_not_have_is_an_error() -> None:
    document = parse("mutation { a }")
    result = planned(build_schema("type Query { a: String }"), document)
    assert [error.message for error in result.errors] == ["Schema is not configured to execute mutation operation."]


def test_without_a_root_value_plain_fields_are_null() -> None:
    assert described(run(OPERATIONS, "{ a }")) == ({"a": None}, [])


def test_the_order_of_keys_does_not_depend_on_who_is_ready_first() -> None:
    async def slow(_info: Any) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "slow"

    schema = build_schema("type Query { a: String, b: String, c: String, d: String, e: String }")
    root = {"a": slow, "b": "b", "c": lambda _info: later("c"), "d": slow, "e": "e"}
    data = run(schema, "{ a b c d e }", root).data
    assert data is not None
    assert list(data.items()) == [("a", "slow"), ("b", "b"), ("c", "c"), ("d", "slow"), ("e", "e")]


def test_sync_fields_are_executed_once_when_another_one_waits() -> None:
    calls: list[str] = []

    def count(name: str) -> Callable[..., Any]:
        def resolve(_info: Any) -> Any:
            calls.append(name)
            return later(name) if name == "late" else name

        return resolve

    schema = build_schema("type Query { row: Row } type Row { first: String, late: String, last: String }")
    root = {"row": {name: count(name) for name in ("first", "late", "last")}}

    async def wait() -> Any:
        return await planned(schema, parse("{ row { first late last } }"), root_value=root)

    assert asyncio.run(wait()).data == {"row": {"first": "first", "late": "late", "last": "last"}}
    assert calls == ["first", "late", "last"]


def test_a_custom_scalars_words_are_the_errors_words() -> None:
    def write(_value: Any) -> Any:
        return None

    scalar = GraphQLScalarType("Custom", coerce_output_value=write)
    row = GraphQLObjectType("Row", {"custom": GraphQLField(scalar)})
    schema = GraphQLSchema(GraphQLObjectType("Query", {"row": GraphQLField(row)}))
    result = run(schema, "{ row { custom } }", {"row": {"custom": "a value"}})

    assert result.data == {"row": {"custom": None}}
    assert [error.message for error in result.errors or ()] == [
        "Expected `Custom.coerce_output_value('a value')` to return non-nullable value, returned: None"
    ]


# Resolving: the default way


def test_the_default_resolver_reads_items_attributes_and_calls() -> None:
    schema = build_schema("type Query { test: String }")
    assert run(schema, "{ test }", {"test": "an item"}).data == {"test": "an item"}
    assert run(schema, "{ test }", SimpleNamespace(test="an attribute")).data == {"test": "an attribute"}
    assert run(schema, "{ test }", {"test": lambda info: f"called for {info.field_name}"}).data == {
        "test": "called for test"
    }


def test_it_gives_arguments_to_what_it_calls() -> None:
    argument = {"addend1": GraphQLArgument(GraphQLInt)}
    schema = GraphQLSchema(GraphQLObjectType("Query", {"test": GraphQLField(GraphQLInt, args=argument)}))

    class Adder:
        _number = 700

        def test(self, info: Any, addend1: int) -> int:
            return self._number + addend1 + int(info.context["addend2"])

    assert run(schema, "{ test(addend1: 80) }", Adder(), context_value={"addend2": 9}).data == {"test": 789}


def test_arguments_may_have_other_names_in_python() -> None:
    given = []

    def resolve(_source: Any, _info: Any, **arguments: Any) -> str:
        given.append(arguments)
        return str(arguments)

    arguments = {"aString": GraphQLArgument(GraphQLString, out_name="a_string")}
    row = GraphQLObjectType("Row", {"test": GraphQLField(GraphQLString, args=arguments, resolve=resolve)})
    schema = GraphQLSchema(GraphQLObjectType("Query", {"row": GraphQLField(row)}))

    run(schema, '{ row { test(aString: "given") other: test } }', {"row": {}})

    assert given[:2] == [{"a_string": "given"}, {}]


# Synchronously


SYNC = build_schema("type Query { sync: String, row: Row } type Row { late: String, sync: String }")


def test_what_needs_no_waiting_does_not_wait() -> None:
    result = planned(SYNC, parse("{ sync row { sync } }"), root_value={"sync": "a", "row": {"sync": "b"}})
    assert not inspect.isawaitable(result)
    assert result.data == {"sync": "a", "row": {"sync": "b"}}


async def test_what_has_to_wait_does() -> None:
    result = planned(SYNC, parse("{ row { late sync } }"), root_value={"row": {"late": later("a"), "sync": "b"}})
    assert inspect.isawaitable(result)
    assert (await result).data == {"row": {"late": "a", "sync": "b"}}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_where_waiting_is_not_allowed_it_is_an_error() -> None:
    document = parse("{ row { late } }")

    class Planned(CompiledExecutor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, plan=Plan(SYNC, document, operation_of(document)), **kwargs)

    with pytest.raises(RuntimeError, match="GraphQL execution failed to complete synchronously"):
        execute_sync(SYNC, document, {"row": {"late": later("a")}}, executor_class=Planned, check_sync=True)
    gc.collect()  # what was not awaited is found here, and not in another test
