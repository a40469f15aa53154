"""Interfaces and unions: how the type of a value is found, at once and after a while, and what can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, parse

from tests.schema.execution.runs import described, only_error, planned, run

SDL = """
    type Query { pets: [Pet], any: [Any], pet: Pet }
    interface Named { name: String }
    interface Pet { name: String }
    type Dog implements Pet & Named { name: String, woofs: Boolean }
    type Cat implements Pet & Named { name: String, meows: Boolean }
    type Person implements Named { name: String, pets: [Pet] }
    union Any = Dog | Cat
    input Odd { a: Int }
"""
PETS = "{ pets { __typename name ... on Dog { woofs } ... on Cat { meows } } }"
ANY = "{ any { __typename ... on Dog { name woofs } ... on Cat { name meows } } }"


class Dog:
    name = "Odie"
    woofs = True


class Cat:
    name = "Garfield"
    meows = False


EXPECTED = [
    {"__typename": "Dog", "name": "Odie", "woofs": True},
    {"__typename": "Cat", "name": "Garfield", "meows": False},
]


def of_class(value: Any, *_: Any) -> str:
    return type(value).__name__


async def of_class_later(value: Any, *_: Any) -> str:
    await asyncio.sleep(0)
    return of_class(value)


def schema_with(resolve_type: Callable[..., Any] | None = None, **is_type_of: Callable[..., Any]) -> GraphQLSchema:
    schema: Any = build_schema(SDL)
    for name in ("Pet", "Any"):
        schema.type_map[name].resolve_type = resolve_type
    for name, predicate in is_type_of.items():
        schema.type_map[name].is_type_of = predicate
    return schema  # type: ignore[no-any-return]


def is_a(cls: type) -> Callable[..., bool]:
    return lambda value, _info: isinstance(value, cls)


def is_a_later(cls: type) -> Callable[..., Any]:
    async def predicate(value: Any, _info: Any) -> bool:
        await asyncio.sleep(0)
        return isinstance(value, cls)

    return predicate


FINDING = {
    "resolver": lambda: schema_with(of_class),
    "resolver, later": lambda: schema_with(of_class_later),
    "predicates": lambda: schema_with(Dog=is_a(Dog), Cat=is_a(Cat)),
    "predicates, later": lambda: schema_with(Dog=is_a_later(Dog), Cat=is_a_later(Cat)),
    "predicates, one of them later": lambda: schema_with(Dog=is_a_later(Dog), Cat=is_a(Cat)),
    "both": lambda: schema_with(of_class, Dog=is_a(Dog), Cat=is_a_later(Cat)),
}


@pytest.mark.parametrize("way", sorted(FINDING))
def test_types_are_found(way: str) -> None:
    schema = FINDING[way]()
    assert described(run(schema, PETS, {"pets": [Dog(), Cat()]})) == ({"pets": EXPECTED}, [])
    assert described(run(schema, ANY, {"any": (Dog(), Cat())})) == ({"any": EXPECTED}, [])


def test_a_mapping_or_an_object_says_its_type_itself() -> None:
    class Hound:
        __typename = "Dog"  # mangled by Python, which graphql-core allows for
        name = "Odie"
        woofs = True

    pets = [Hound(), {"__typename": "Cat", "name": "Garfield", "meows": False}]
    schema = schema_with()
    assert described(run(schema, PETS, {"pets": pets})) == ({"pets": EXPECTED}, [])
    assert described(run(schema, ANY, {"any": pets})) == ({"any": EXPECTED}, [])


def failing(message: str) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise ValueError(message)

    return fail


def failing_later(message: str) -> Callable[..., Any]:
    async def fail(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise ValueError(message)

    return fail


async def nothing_later(*_: Any) -> None:
    await asyncio.sleep(0)


NO_TYPE = (
    "Abstract type 'Pet' must resolve to an Object type at runtime for field 'Query.pet'. Either the 'Pet' type should"
    " provide a 'resolve_type' function or each possible type should provide an 'is_type_of' function."
)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (schema_with(failing("cannot tell")), "cannot tell"),
        (schema_with(failing_later("cannot tell")), "cannot tell"),
        (schema_with(Dog=failing("cannot tell"), Cat=is_a(Cat)), "cannot tell"),
        (schema_with(Dog=failing_later("cannot tell"), Cat=is_a_later(Cat)), "cannot tell"),
        (schema_with(), NO_TYPE),
        (schema_with(Dog=is_a(int), Cat=is_a(int)), NO_TYPE),
        (schema_with(nothing_later), NO_TYPE),
        (schema_with(lambda *_: None), NO_TYPE),
        (schema_with(lambda *_: "Person"), "Runtime Object type 'Person' is not a possible type for 'Pet'."),
        (schema_with(lambda *_: "Odd"), "Abstract type 'Pet' was resolved to a non-object type 'Odd'."),
        (
            schema_with(lambda *_: "Cow"),
            "Abstract type 'Pet' was resolved to a type 'Cow' that does not exist inside the schema.",
        ),
        (schema_with(of_class, Dog=is_a(Cat)), "Expected value of type 'Dog' but got: <Dog instance>."),
        (schema_with(of_class, Dog=is_a_later(Cat)), "Expected value of type 'Dog' but got: <Dog instance>."),
    ],
)
def test_types_that_are_not_found(schema: GraphQLSchema, message: str) -> None:
    result = run(schema, "{ pet { name } }", {"pet": Dog()})

    assert result.data == {"pet": None}
    assert [(error.message, error.path) for error in result.errors or ()] == [(message, ["pet"])]


def test_a_type_that_is_no_name_is_an_error() -> None:
    schema = schema_with(lambda *_: ["Dog"])
    result = run(schema, "{ pet { name } }", {"pet": Dog()})

    error = only_error(result)
    assert error.message == (
        "Abstract type 'Pet' must resolve to an Object type at runtime for field 'Query.pet' with value <Dog instance>,"
        " received '['Dog']', which is not a valid Object type name."
    )


def test_an_object_type_may_refuse_a_value_where_it_is_the_fields_own_type() -> None:
    schema: Any = build_schema("type Query { dogs: [Dog] } type Dog { name: String }")
    schema.type_map["Dog"].is_type_of = is_a(Dog)

    result = run(schema, "{ dogs { name } }", {"dogs": [Dog(), Cat()]})

    assert result.data == {"dogs": [{"name": "Odie"}, None]}
    assert [error.message for error in result.errors or ()] == ["Expected value of type 'Dog' but got: <Cat instance>."]


def test_fragments_on_interfaces_take_every_type_that_implements_them() -> None:
    text = """
        query { pets { ...Pet ...Named ... on Named { n: name } __typename } }
        fragment Pet on Pet { ... on Dog { woofs } ... on Cat { meows } }
        fragment Named on Named { name ... on Person { pets { name } } }
    """
    data, errors = described(run(schema_with(of_class), text, {"pets": [Dog(), Cat()]}))

    assert errors == []
    assert data == {
        "pets": [
            {"woofs": True, "name": "Odie", "n": "Odie", "__typename": "Dog"},
            {"meows": False, "name": "Garfield", "n": "Garfield", "__typename": "Cat"},
        ]
    }
    assert [list(pet) for pet in data["pets"]] == [
        ["woofs", "name", "n", "__typename"],
        ["meows", "name", "n", "__typename"],
    ]


def test_a_resolver_of_types_is_told_of_the_execution() -> None:
    seen: list[Any] = []

    def resolve_type(value: Any, info: Any, abstract: Any) -> str:
        seen.append(
            (info.context, info.field_name, info.return_type, info.parent_type.name, info.schema, abstract.name)
        )
        return of_class(value)

    schema = schema_with(resolve_type)
    run(schema, "{ pet { name } }", {"pet": Dog()}, context_value="the context")

    pet = schema.type_map["Pet"]
    assert [each[:4] for each in seen] == [("the context", "pet", pet, "Query")] * 3
    assert all(each[5] == "Pet" for each in seen)


def test_introspection_knows_who_implements_what() -> None:
    text = '{ __type(name: "Pet") { kind possibleTypes { name } fields { name type { name ofType { name } } } } }'
    assert planned(schema_with(), parse(text)).data == {
        "__type": {
            "kind": "INTERFACE",
            "possibleTypes": [{"name": "Dog"}, {"name": "Cat"}],
            "fields": [{"name": "name", "type": {"name": "String", "ofType": None}}],
        }
    }
