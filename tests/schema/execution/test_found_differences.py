"""Differences to graphql-core that the random comparison or reading the code has found, each as small as it gets."""

from __future__ import annotations

import asyncio
import inspect
import types
import weakref
from collections.abc import Callable, Generator
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from graphql import (
    Executor,
    GraphQLSchema,
    build_schema,
    execute,
    parse,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.runs import described, operation_of

PETS = build_schema("""
    type Query { pets: [Pet!], dog: Dog, dogs: [Dog!] }
    interface Pet { name: String }
    type Dog implements Pet { name: String, friend: Dog, names: [String] }
    type Cat implements Pet { name: String }
""")


def described_by_both(
    schema: GraphQLSchema,
    text: str,
    root: Callable[[], Any],
    variables: dict[str, Any] | None = None,
    reference: type[Executor[Any]] = Executor,
    **parsing: Any,
) -> Any:
    """What both executors say, which has to be the same."""
    document = parse(text, **parsing)
    plan = Plan(schema, document, operation_of(document))

    async def outcome(**how: Any) -> Any:
        result = execute(schema, document, root(), variable_values=variables, **how)
        return described(await result if inspect.isawaitable(result) else result)

    expected = asyncio.run(outcome(executor_class=reference))
    assert asyncio.run(outcome(executor_class=CompiledExecutor, plan=plan)) == expected
    return expected


def own_await(**attributes: Any) -> Any:
    value = SimpleNamespace(**attributes)
    value.__await__ = lambda: iter(())
    return value


def test_an_instance_with_an_await_of_its_own_is_awaited_which_fails() -> None:
    data, errors = described_by_both(
        PETS, "{ dog { friend { name } } }", lambda: {"dog": {"friend": own_await(name="x")}}
    )

    assert data == {"dog": {"friend": None}}
    assert "can't be used in 'await' expression" in errors[0][0]


def test_so_is_such_a_leaf() -> None:
    data, errors = described_by_both(PETS, "{ dogs { name } }", lambda: {"dogs": [{"name": own_await()}]})

    assert data == {"dogs": [{"name": None}]}
    assert "can't be used in 'await' expression" in errors[0][0]


@types.coroutine
def old_coroutine() -> Generator[Any, None, Any]:
    yield
    return {"name": "late"}


class Disguised:
    """Its class says nothing of what `isinstance` finds."""

    def __init__(self, guise: type) -> None:
        self._guise = guise

    __class__ = property(lambda self: self._guise)

    def get(self, name: str) -> str:
        return f"the {name} of a mapping"

    def __str__(self) -> str:
        return "disguised"


class Awaited:
    name = "of a class"

    def __await__(self) -> Any:
        return iter(())


AWAITED = Awaited()
MODULE = types.ModuleType("module")
MODULE.__await__ = lambda: iter(())  # type: ignore[attr-defined]

PRETENDING: dict[str, Callable[[], Any]] = {
    "generator coroutine": old_coroutine,
    "disguised as an exception": lambda: Disguised(ValueError),
    "disguised as a mapping": lambda: Disguised(dict),
    "proxy": lambda: weakref.proxy(AWAITED),
    "module": lambda: MODULE,
    "class": lambda: Awaited,
}


@pytest.mark.parametrize("kind", sorted(PRETENDING))
def test_values_are_what_graphql_core_takes_them_for(kind: str) -> None:
    described_by_both(PETS, "{ dog { friend { name } } }", lambda: {"dog": {"friend": PRETENDING[kind]()}})
    described_by_both(PETS, "{ dogs { name names } }", lambda: {"dogs": [{"name": PRETENDING[kind]()}]})


@strawberry.type
class Owner:
    dog: StrawberryDog


@strawberry.type
class StrawberryDog:
    name: str | None


@strawberry.type
class OwnerQuery:
    owners: list[Owner]


@pytest.mark.parametrize("kind", sorted(PRETENDING))
def test_so_are_values_of_strawberry_fields_which_are_never_called(kind: str) -> None:
    described_by_both(
        strawberry.Schema(OwnerQuery)._schema,
        "{ owners { dog { name } } }",
        lambda: SimpleNamespace(owners=[SimpleNamespace(dog=PRETENDING[kind]())]),
        reference=StrawberryGraphQLCoreExecutionContext,
    )


def test_a_directive_that_fails_for_another_type_fails_nowhere_else() -> None:
    text = """query ($no: Boolean = false) {
        pets { ... on Dog { name } ... on Cat { name @skip(if: $no) } }
    }"""
    data, errors = described_by_both(
        PETS, text, lambda: {"pets": [{"__typename": "Dog", "name": "Rex"}]}, variables={"no": None}
    )

    assert (data, errors) == ({"pets": [{"name": "Rex"}]}, [])


def test_a_directive_that_fails_does_so_after_the_type_was_asked_for() -> None:
    asked = []
    schema = build_schema("type Query { dog: Dog } type Dog { name: String }")
    schema.type_map["Dog"].is_type_of = lambda value, _info: asked.append(value)  # type: ignore[attr-defined]
    text = "query ($no: Boolean = false) { dog { name @skip(if: $no) } }"

    _, errors = described_by_both(schema, text, lambda: {"dog": {}}, variables={"no": None})

    assert asked == [{}, {}]
    assert errors[0][0] == "Expected value of type 'Dog' but got: {}."


class Prefixed(NameConverter):
    def from_type(self, type_: Any) -> str:
        name = super().from_type(type_)
        return f"My{name}" if name == "Cat" else name


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Cat(Named):
    pass


@strawberry.type
class NamedQuery:
    all: list[Named | None]


def test_strawberry_does_not_find_the_type_a_name_converter_has_renamed() -> None:
    schema = strawberry.Schema(NamedQuery, types=[Cat], config=StrawberryConfig(name_converter=Prefixed()))._schema

    data, errors = described_by_both(
        schema,
        "{ all { name } }",
        lambda: SimpleNamespace(all=[Cat(name="Tom")]),
        reference=StrawberryGraphQLCoreExecutionContext,
    )

    assert data == {"all": [None]}
    assert errors[0][0] == "Abstract type 'Named' was resolved to a type 'Cat' that does not exist inside the schema."


def test_selections_that_are_nested_too_deeply_are_an_error_of_the_request() -> None:
    chain = " ".join(f"fragment F{index} on Query {{ ...F{index + 1} }}" for index in range(3000))
    text = f"{{ ...F0 }} {chain} fragment F3000 on Query {{ dog {{ name }} }}"

    data, errors = described_by_both(PETS, text, lambda: {"dog": {"name": "Rex"}})

    assert data is None
    assert [message for message, *_ in errors] == ["Selections are nested too deeply. Execution aborted."]


def test_a_list_may_grow_while_it_is_completed() -> None:
    def root() -> Any:
        dogs: list[Any] = [ValueError("no dog")]  # from here on it is completed by the book

        class Prolific:
            @property
            def name(self) -> str:
                if len(dogs) < 3:
                    dogs.append({"name": "pup"})
                return "mother"

        dogs.append(Prolific())
        return {"dog": {"friends": dogs}}

    schema = build_schema("type Query { dog: Dog } type Dog { name: String, friends: [Dog] }")
    data, _ = described_by_both(schema, "{ dog { friends { name } } }", root)

    assert data == {"dog": {"friends": [None, {"name": "mother"}, {"name": "pup"}]}}


def test_fragments_may_have_variables() -> None:
    text = """query ($yes: Boolean!) { dog { ...F(no: $yes) friend { ...F(no: false) } } }
        fragment F($no: Boolean!) on Dog { name @skip(if: $no) names }"""

    data, _ = described_by_both(
        PETS,
        text,
        lambda: {"dog": {"name": "Rex", "friend": {"name": "Tim"}}},
        variables={"yes": True},
        experimental_fragment_arguments=True,
    )

    assert data == {"dog": {"names": None, "friend": {"name": "Tim", "names": None}}}


@strawberry.enum
class Failure(Exception, Enum):  # noqa: N818 -- an enum whose members can be raised
    EMPTY = "empty"


@strawberry.type
class FailureRow:
    failure: Failure | None


@strawberry.type
class FailureQuery:
    rows: list[FailureRow]


def test_a_member_of_an_enum_of_exceptions_is_raised() -> None:
    data, errors = described_by_both(
        strawberry.Schema(FailureQuery)._schema,
        "{ rows { failure } }",
        lambda: SimpleNamespace(rows=[SimpleNamespace(failure=Failure.EMPTY)]),
        reference=StrawberryGraphQLCoreExecutionContext,
    )

    assert data == {"rows": [{"failure": None}]}
    assert errors[0][0] == "Failure.EMPTY"
