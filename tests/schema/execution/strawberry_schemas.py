"""A strawberry schema with one of everything that decides how a field is read. A field name means one type everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter

from schema.kernel.rows import PartOfSource
from tests.schema.execution.recipes import CLASSES, Metal, Size, kind_of, note

T = TypeVar("T")
strawberry.enum(Metal)
strawberry.enum(Size)


class NotForB(BasePermission):
    message = "not for B"

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        note("asked for permission")
        return bool(kind_of(source) != "B")


class NotForALater(BasePermission):
    message = "not for A"

    async def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        note("asked for permission")
        await asyncio.sleep(0)
        return bool(kind_of(source) != "A")


class Louder(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        note("made louder")
        value = next_(source, info, **kwargs)
        return value.upper() if isinstance(value, str) else value


class LouderLater(FieldExtension):
    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        note("made louder, in a while")
        value = await next_(source, info, **kwargs)
        return value.upper() if isinstance(value, str) else value


class Signed(strawberry.types.field.StrawberryField):
    """A field of another class than strawberry's own: what it does is its own business."""

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        note("signed")
        value = super().get_result(source, info, args, kwargs)
        return f"{value} (signed)" if isinstance(value, str) else value


def _signed() -> Any:
    return Signed(python_name=None, graphql_name=None, type_annotation=None)


def _part() -> Any:
    return PartOfSource(python_name=None, graphql_name=None, type_annotation=None)


@strawberry.interface
class I:  # noqa: E742
    a: A | None
    b: str
    f: I | None


@strawberry.interface
class J:
    b: str

    @classmethod
    def resolve_type(cls, value: Any, info: Any, abstract: Any) -> Any:
        note("which J")
        return kind_of(value)


@strawberry.type
class Part:
    b: str
    d: int | None = strawberry.field(name="d", default=None)


@strawberry.type
class A(I):
    b: str
    secret: strawberry.Private[str] = "nobody's"
    c: list[Metal | None]
    other: int | None = strawberry.field(name="d")
    e: list[U]
    g: list[I | None]
    h: str | None = strawberry.field(permission_classes=[NotForB])
    i: str = strawberry.field(extensions=[Louder()])
    l: Part = _part()  # noqa: E741
    p: Size | None
    q: list[list[datetime] | None] | None

    @strawberry.field
    def j(self, n: int = 1) -> float | None:
        note(f"j of {n}")
        return getattr(self, "j_", 1.5)

    @strawberry.field
    async def k(self) -> B | None:
        note("k")
        await asyncio.sleep(0)
        return getattr(self, "a", None)  # what is no B makes an error


@strawberry.type
class B(I, J):
    c: list[Metal | None]
    e: list[U]
    h: str | None = strawberry.field(permission_classes=[NotForALater, NotForB])
    i: str = strawberry.field(extensions=[LouderLater()])
    r: str = _signed()


@strawberry.type
class C(J):
    c: list[Metal | None]
    h: str | None = strawberry.field(permission_classes=[NotForB], extensions=[Louder()])
    p: Size | None

    @classmethod
    def is_type_of(cls, value: Any, info: Any) -> bool:
        note("is it C")
        return bool(kind_of(value) == "C")


@strawberry.type
class D:
    b: str
    g: list[I | None]
    r: str = _signed()


@strawberry.type
class E(A):
    """Inherits, and declares one field of its parent anew."""

    c: list[Metal | None] = strawberry.field(default_factory=list)


@strawberry.type
class Page(Generic[T]):
    o: list[T]
    d: int | None


U: TypeAlias = Annotated[A | B | D | E | Page[int], strawberry.union("U")]


@strawberry.type
class Query:
    a: A | None
    b: str
    c: list[Metal | None]
    d: int | None
    e: list[U]
    f: I | None
    g: list[I | None]
    h: str | None = strawberry.field(permission_classes=[NotForB])
    k: B | None
    l: Part = _part()  # noqa: E741
    m: Page[A]
    n: J | None
    p: Size | None


def _item_or_attribute(source: Any, name: str) -> Any:
    return source[name] if isinstance(source, Mapping) else getattr(source, name)


class Prefixed(NameConverter):
    """Strawberry looks an interface's type up by its own name for it, so that not every value finds its type."""

    def from_type(self, type_: Any) -> str:
        name = super().from_type(type_)
        return f"X{name}" if name == "E" else name


CONFIGS: Mapping[str, StrawberryConfig] = {
    "default": StrawberryConfig(),
    "items": StrawberryConfig(default_resolver=_item_or_attribute),
    "prefixed": StrawberryConfig(name_converter=Prefixed()),
}


@cache
def strawberry_schema(name: str) -> GraphQLSchema:
    schema = strawberry.Schema(Query, types=[A, B, C, D, E], config=CONFIGS[name])._schema
    for kind in schema.type_map.values():
        definition = kind.extensions.get("strawberry-definition")
        if isinstance(kind, GraphQLObjectType) and definition is not None:
            CLASSES[kind.name] = definition.origin
    return schema
