"""Random schemas: the text of one, and how each of its fields and types behaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    build_schema,
)
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.schema.execution.recipes import NAMES as ALL_NAMES
from tests.schema.execution.recipes import Awaitable, kind_of, note

NAMES = ALL_NAMES[:8]
LEAVES = (
    "String",
    "Int",
    "Float",
    "Boolean",
    "ID",
    "Tone",
    "Wild",
    "Raising",
    "Nothing",
    "Missing",
    "Later",
    "LateNull",
)
WRAPPINGS = ("{}", "{}!", "[{}]", "[{}!]!", "[{}!]", "[{}]!", "[[{}!]]", "[[{}]!]!")
DIRECTIVE = "note"  # may stand at a field and means nothing

_HEAD = f"""
directive @{DIRECTIVE} on FIELD
enum Tone {{ LOW MIDDLE HIGH LIST NULL }}
scalar Wild
scalar Raising
scalar Nothing
scalar Missing
scalar Later
scalar LateNull
"""
_TONES: Mapping[str, Any] = {"LOW": "low", "MIDDLE": 1, "HIGH": "LOW", "LIST": [1, "two", None], "NULL": None}


def _raise(value: Any) -> Any:
    raise GraphQLError(f"cannot write a {type(value).__name__}", extensions={"code": "RAISING"})


async def _later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


_WRITERS: Mapping[str, Callable[[Any], Any]] = {
    "Wild": lambda value: value,
    "Raising": _raise,
    "Nothing": lambda _value: None,
    "Missing": lambda _value: Undefined,
    "Later": lambda value: _later(f"late {type(value).__name__}"),
    "LateNull": lambda _value: Awaitable(None),
}


# Resolvers. Each finds its value where the default resolver would, and does not call it.


def _read(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _noted(info: GraphQLResolveInfo[Any], arguments: Mapping[str, Any]) -> None:
    nodes = [node.loc.start if node.loc else None for node in info.field_nodes]
    note(f"{info.parent_type}.{info.field_name}: {info.return_type} {info.path.as_list()} {nodes} {dict(arguments)}")


def _sync(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    return _read(source, info.field_name)


async def _async(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    await asyncio.sleep(0)
    return _read(source, info.field_name)


async def _hasty(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    return _read(source, info.field_name)


async def _slow_failure(_source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    for _ in range(3):
        await asyncio.sleep(0)
    raise LookupError(f"no {info.field_name} after a while")


def _failure(_source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    raise LookupError(f"no {info.field_name}")


def _itself(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    _noted(info, arguments)
    return source


RESOLVERS: Mapping[str, Callable[..., Any]] = {
    "sync": _sync,
    "async": _async,
    "hasty": _hasty,
    "slow failure": _slow_failure,
    "failure": _failure,
    "itself": _itself,
}


# Predicates of object types, and resolvers of the types behind interfaces and unions


def _is_kind(name: str) -> Callable[..., Any]:
    def is_type_of(value: Any, _info: Any) -> bool:
        note(f"is it {name}")
        return bool(kind_of(value) == name)

    return is_type_of


def _is_kind_later(name: str) -> Callable[..., Any]:
    async def is_type_of(value: Any, _info: Any) -> bool:
        note(f"is it {name}, in a while")
        await asyncio.sleep(0)
        return bool(kind_of(value) == name)

    return is_type_of


def _cannot_say(name: str) -> Callable[..., Any]:
    def is_type_of(_value: Any, _info: Any) -> bool:
        raise ValueError(f"cannot say if it is {name}")

    return is_type_of


PREDICATES: Mapping[str, Callable[[str], Callable[..., Any]]] = {
    "is kind": _is_kind,
    "is kind, later": _is_kind_later,
    "cannot say": _cannot_say,
}


def _kind(value: Any, _info: Any, abstract: Any) -> Any:
    note(f"which {abstract.name}")
    return kind_of(value)


async def _kind_later(value: Any, _info: Any, abstract: Any) -> Any:
    note(f"which {abstract.name}, in a while")
    await asyncio.sleep(0)
    return kind_of(value)


def _no_kind(_value: Any, _info: Any, abstract: Any) -> Any:
    raise ValueError(f"no idea which {abstract.name}")


KINDS: Mapping[str, Callable[..., Any]] = {
    "kind": _kind,
    "kind, later": _kind_later,
    "no kind": _no_kind,
    "nowhere": lambda _value, _info, _abstract: "Nowhere",
    "a leaf": lambda _value, _info, _abstract: "String",
    "no text": lambda _value, _info, _abstract: 1,
}


@dataclass(frozen=True)
class Blueprint:
    """A schema as text; `behaviours` names what is in the tables above, by `Type.field` or `Type`."""

    text: str
    behaviours: Mapping[str, str]

    @cached_property
    def schema(self) -> GraphQLSchema:
        schema = build_schema(self.text)
        tone = schema.type_map["Tone"]
        assert isinstance(tone, GraphQLEnumType)
        for name, value in _TONES.items():
            tone.values[name].value = value
        for name, write in _WRITERS.items():
            scalar = schema.type_map[name]
            assert isinstance(scalar, GraphQLScalarType)
            scalar.coerce_output_value = write
        for place, behaviour in self.behaviours.items():
            type_name, _, field_name = place.partition(".")
            kind = schema.type_map[type_name]
            if field_name:
                assert isinstance(kind, GraphQLObjectType)
                kind.fields[field_name].resolve = RESOLVERS[behaviour]
            elif isinstance(kind, GraphQLObjectType):
                kind.is_type_of = PREDICATES[behaviour](type_name)
            else:
                assert isinstance(kind, GraphQLInterfaceType | GraphQLUnionType)
                kind.resolve_type = KINDS[behaviour]
        return schema


def _subset(draw: DrawFn, names: tuple[str, ...]) -> tuple[str, ...]:
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True))
    return tuple(name for name in names if name in chosen)


@st.composite
def blueprints(draw: DrawFn) -> Blueprint:
    """A field name means the same type wherever it appears, so that no selections of one name contradict each other."""
    objects = ("A", "B", "C")[: draw(st.integers(1, 3))]
    interfaces = ("I", "J")[: draw(st.integers(0, 2))]
    unions = ("U",)[: draw(st.integers(0, 1))]
    names = NAMES[: draw(st.integers(3, len(NAMES)))]
    composites = objects + interfaces + unions
    types = {
        name: draw(st.sampled_from(WRAPPINGS)).format(
            draw(st.sampled_from(composites if index % 2 == 0 else LEAVES)),
        )
        for index, name in enumerate(names)
    }
    with_arguments = {name for name in names if draw(st.integers(0, 9)) >= 8}

    def declared(fields: tuple[str, ...]) -> str:
        arguments = "(n: Int = 5, s: [Tone!])"
        return " ".join(f"{name}{arguments if name in with_arguments else ''}: {types[name]}" for name in fields)

    of_interface = {name: _subset(draw, names[:4]) for name in interfaces}
    parts, behaviours = [_HEAD], {}
    parts.extend(f"interface {name} {{ {declared(fields)} }}" for name, fields in of_interface.items())
    fields_of: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(objects):
        # The first object type implements every interface, so that each has an implementation.
        implemented = [each for each in interfaces if index == 0 or draw(st.booleans())]
        due = {field for each in implemented for field in of_interface[each]}
        fields_of[name] = tuple(field for field in names if field in due or draw(st.integers(0, 3)) > 0) or names[:1]
        implements = f" implements {' & '.join(implemented)}" if implemented else ""
        parts.append(f"type {name}{implements} {{ {declared(fields_of[name])} }}")
        if draw(st.integers(0, 9)) >= 6:
            behaviours[name] = draw(st.sampled_from(["is kind", "is kind", "is kind, later", "cannot say"]))
    parts.extend(f"union {name} = {' | '.join(objects)}" for name in unions)
    for name in interfaces + unions:
        if draw(st.integers(0, 9)) >= 6:
            behaviours[name] = draw(st.sampled_from(["kind", "kind", *KINDS]))
    for name in ("Query", "Mutation"):
        fields_of[name] = names
        parts.append(f"type {name} {{ {declared(names)} }}")
    for name, fields in fields_of.items():
        for field in fields:
            if draw(st.integers(0, 9)) >= 7:
                behaviours[f"{name}.{field}"] = draw(st.sampled_from(["sync", "sync", "async", "async", *RESOLVERS]))
    return Blueprint("\n".join(parts), behaviours)
