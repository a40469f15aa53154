"""Recipes of values: what a hypothesis example holds, and what is built anew for each execution.

A coroutine or a generator can be consumed once, so two executions cannot share a value. They share its recipe, which
prints as what it is. What user code sees of an execution (calls, reads, awaits) goes into the `JOURNAL` of that execution.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import types
import weakref
from collections import UserDict, UserList, UserString, deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import strawberry
from graphql import GraphQLError, Undefined

NAMES = tuple("abcdefghijklmnopqr")  # of the fields that sources can have


@dataclass(slots=True)
class Journal:
    """What happened in one execution, as the code of its schema and data saw it."""

    events: list[str] = field(default_factory=list)
    coroutines: list[Any] = field(default_factory=list)

    def note(self, event: str) -> None:
        self.events.append(event)

    def forgotten(self) -> int:
        """Closes the coroutines nobody has started; their number."""
        waiting = [each for each in self.coroutines if inspect.getcoroutinestate(each) == inspect.CORO_CREATED]
        for each in waiting:
            each.close()
        return len(waiting)


JOURNAL: ContextVar[Journal] = ContextVar("journal")


def note(event: str) -> None:
    JOURNAL.get().note(event)


# Values of odd kinds, each with nothing more to choose


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Anything:
    """Has every attribute there is, `__await__` included."""

    def __getattr__(self, name: str) -> Any:
        return f"anything {name}"


class Disguised:
    """Says it is an instance of another class."""

    def __init__(self, guise: type) -> None:
        self._guise = guise

    @property
    def __class__(self) -> Any:
        return self._guise

    @__class__.setter
    def __class__(self, _guise: Any) -> None:
        raise TypeError

    def get(self, name: str) -> str:
        return f"disguised {name}"


class Impostor:
    """Raises when somebody asks what it is."""

    @property
    def __class__(self) -> Any:
        raise LookupError("nobody's business")

    @__class__.setter
    def __class__(self, _guise: Any) -> None:
        raise TypeError


class Guarded:
    """Answers for every attribute by itself; what it knows of `__await__` stands in no class."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__await__":
            return lambda: iter(())
        return object.__getattribute__(self, name)


class Awaitable:
    """What can be awaited without being a coroutine or a future."""

    def __init__(self, value: Any, *, fails: bool = False) -> None:
        self._value = value
        self._fails = fails

    def __await__(self) -> Generator[Any, None, Any]:
        note("awaited")
        yield from asyncio.sleep(0).__await__()
        if self._fails:
            raise ValueError("an awaitable that fails")
        return self._value


class Pausing:
    """Its instances can be awaited, and so it has an `__await__` of its own that is no use to anybody."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __await__(self) -> Iterator[Any]:
        return iter(())


class Callable_:  # noqa: N801 -- `Callable` is a type of ours, too
    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, *_args: Any, **kwargs: Any) -> Any:
        note(f"called with {sorted(kwargs)}")
        return self._value


class Colour(Enum):
    RED = "red"
    GREEN = 2
    BLUE = (0, 0, 1)


class Metal(StrEnum):
    IRON = "iron"
    GOLD = "gold"
    LIKE_IRON = "IRON"  # a value that is the name of another member


class Size(Enum):
    SMALL = 1
    LARGE = 2
    ODD = "odd"


class Unmoved(Exception):  # noqa: N818 -- an exception that is a value
    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__("made by calling its class")


class Sized:
    """Can be iterated by the old protocol only."""

    def __getitem__(self, index: int) -> int:
        if index > 1:
            raise IndexError
        return index


def _fail(*_args: Any, **_kwargs: Any) -> Any:
    note("called")
    raise ValueError("a callable that fails")


def _own_await() -> Any:
    value = SimpleNamespace(a="own", b=2)
    value.__await__ = lambda: iter(())
    return value


class Referent:
    a = "referent"

    def __await__(self) -> Iterator[Any]:
        return iter(())


_REFERENT = Referent()
_MODULE = types.ModuleType("odd")
_MODULE.__dict__["a"] = "of a module"

ODD: Mapping[str, Callable[[], Any]] = {
    "undefined": lambda: Undefined,
    "text": lambda: "text",
    "empty text": lambda: "",
    "subclass of str": lambda: Text("red"),
    "UserString": lambda: UserString("user"),
    "subclass of int": lambda: Whole(7),
    "true": lambda: True,
    "number": lambda: 3,
    "too large": lambda: 2**31,
    "too small": lambda: -(2**31) - 1,
    "huge": lambda: 10**400,
    "float": lambda: 1.5,
    "whole float": lambda: 2.0,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "decimal": lambda: Decimal("1.0"),
    "fraction": lambda: Fraction(1, 2),
    "bytes": lambda: b"bytes",
    "datetime": lambda: datetime(2026, 1, 1, tzinfo=UTC),
    "colour": lambda: Colour.RED,
    "another colour": lambda: Colour.BLUE,
    "empty list": list,
    "list": lambda: [1, "two", None],
    "dict": lambda: {"a": 1, "b": "two"},
    "dict of a type": lambda: {"__typename": "Nowhere", "a": 1},
    "keys": {"a": 1, "b": 2}.keys,
    "set": lambda: {1},
    "range": lambda: range(2),
    "old sequence": Sized,
    "iterator": lambda: iter([1, 2]),
    "exception": lambda: ValueError("an exception as a value"),
    "graphql error": lambda: GraphQLError("an error as a value", extensions={"code": "ODD"}),
    "located error": lambda: GraphQLError("located elsewhere", path=["elsewhere", 1]),
    "interrupt": lambda: KeyboardInterrupt("as a value"),
    "failing callable": lambda: _fail,
    "class": lambda: Pausing,
    "exception class": lambda: Unmoved,
    "module": lambda: _MODULE,
    "proxy": lambda: weakref.proxy(_REFERENT),
    "anything": Anything,
    "guarded": Guarded,
    "own __await__": _own_await,
    "impostor": Impostor,
    "disguised as an exception": lambda: Disguised(ValueError),
    "disguised as a mapping": lambda: Disguised(dict),
    "disguised as text": lambda: Disguised(str),
    "failing awaitable": lambda: Awaitable(None, fails=True),
    "object": lambda: SimpleNamespace(a=1, b="b"),
}


# Recipes


@dataclass(frozen=True, slots=True)
class Exactly:
    value: Any


@dataclass(frozen=True, slots=True)
class Odd:
    name: str


@dataclass(frozen=True, slots=True)
class Raised:
    """As an attribute it is raised when it is read; elsewhere it is an exception as a value."""

    message: str


@dataclass(frozen=True, slots=True)
class Wrapped:
    how: str
    inner: Recipe


@dataclass(frozen=True, slots=True)
class Items:
    shape: str
    items: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Source:
    shape: str
    typename: str | None
    fields: tuple[tuple[str, Recipe], ...]


Recipe = Exactly | Odd | Raised | Wrapped | Items | Source


def build(recipe: Recipe) -> Any:
    match recipe:
        case Exactly(value):
            return value
        case Odd(name):
            return ODD[name]()
        case Raised(message):
            return ValueError(message)
        case Wrapped(how, inner):
            return WRAPPERS[how](inner)
        case Items(shape, items):
            return ITERABLES[shape]([build(item) for item in items])
        case Source():
            return SOURCES[recipe.shape](recipe)


def read(recipe: Recipe) -> Any:
    """The value, where something is computed that can fail."""
    match recipe:
        case Raised(message):
            raise ValueError(message)
        case _:
            return build(recipe)


# What has to be awaited or called first


def _coroutine(inner: Recipe) -> Any:
    async def wait() -> Any:
        note("started")
        await asyncio.sleep(0)
        return read(inner)

    coroutine = wait()
    JOURNAL.get().coroutines.append(coroutine)
    return coroutine


def _hasty_coroutine(inner: Recipe) -> Any:
    """Has its result without waiting for anything."""

    async def answer() -> Any:
        note("started")
        return read(inner)

    coroutine = answer()
    JOURNAL.get().coroutines.append(coroutine)
    return coroutine


def _future(inner: Recipe) -> Any:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Awaitable(build(inner))
    future = loop.create_future()

    def arrive() -> None:
        if not future.done():
            future.set_result(build(inner))

    loop.call_soon(arrive)
    return future


def _generator_coroutine(inner: Recipe) -> Any:
    @types.coroutine
    def wait() -> Generator[Any, None, Any]:
        note("started")
        yield
        return build(inner)

    return wait()


def _function(inner: Recipe) -> Any:
    def resolve(info: Any, **arguments: Any) -> Any:
        note(f"called {info.parent_type}.{info.field_name} at {info.path.as_list()} with {arguments}")
        return read(inner)

    return resolve


WRAPPERS: Mapping[str, Callable[[Recipe], Any]] = {
    "coroutine": _coroutine,
    "hasty coroutine": _hasty_coroutine,
    "future": _future,
    "awaitable": lambda inner: Awaitable(build(inner)),
    "generator coroutine": _generator_coroutine,
    "function": _function,
    "callable object": lambda inner: Callable_(build(inner)),
    "function of a coroutine": lambda inner: lambda _info, **_arguments: _coroutine(inner),
}


# What can be iterated


class ListOfOurs(list[Any]):
    pass


class Countdown:
    """Iterable, not a collection, and fails after its items when it is told to."""

    def __init__(self, items: list[Any], *, fails: bool) -> None:
        self._items = items
        self._fails = fails

    def __iter__(self) -> Iterator[Any]:
        yield from self._items
        if self._fails:
            raise ValueError("an iterable that fails")


class Stream:
    """Asynchronously iterable."""

    def __init__(self, items: list[Any], *, fails: bool) -> None:
        self._items = items
        self._fails = fails

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for item in self._items:
                await asyncio.sleep(0)
                yield item
            if self._fails:
                raise ValueError("a stream that fails")
        finally:
            note("stream closed")


def _generated(items: list[Any]) -> Iterator[Any]:
    yield from items


ITERABLES: Mapping[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "subclass of list": ListOfOurs,
    "UserList": UserList,
    "deque": deque,
    "generator": _generated,
    "iterator": iter,
    "view": lambda items: dict(enumerate(items)).values(),
    "iterable": lambda items: Countdown(items, fails=False),
    "failing iterable": lambda items: Countdown(items, fails=True),
    "stream": lambda items: Stream(items, fails=False),
    "failing stream": lambda items: Stream(items, fails=True),
}


# What has fields


def _with(value: Any, source: Source, *, typename: bool = True) -> Any:
    """Sets the fields as attributes, and the type where graphql-core and our predicates look for it."""
    for name, recipe in source.fields:
        setattr(value, name, build(recipe))
    value.kind = source.typename
    if typename and source.typename is not None:
        setattr(value, f"_{type(value).__name__}__typename", source.typename)
    return value


def _entries(source: Source) -> dict[str, Any]:
    entries = {name: build(recipe) for name, recipe in source.fields}
    return entries if source.typename is None else {"__typename": source.typename, **entries}


class Plain:
    pass


class Anonymous:
    """Does not say its type to graphql-core."""


class Slots:
    __slots__ = (*NAMES, "_Slots__typename", "kind")


class TextSource(str):
    __slots__ = (*NAMES, "_TextSource__typename", "kind")


class ErrorSource(Exception):  # noqa: N818 -- an exception that is a source
    pass


class CallableSource(Plain):
    def __call__(self, _info: Any, **_arguments: Any) -> Any:
        note("called a source")
        return _with(Plain(), Source("plain", None, ()))


class Reading:
    """Fields that are computed when they are read. Subclasses say how they are found."""

    def __init__(self, source: Source) -> None:
        self._recipes = dict(source.fields)
        self.kind = source.typename

    def _read(self, name: str) -> Any:
        note(f"read {name}")
        recipe = self._recipes.get(name)
        if recipe is None:
            raise AttributeError(name)
        return read(recipe)


class Properties(Reading):
    pass


def _property(name: str) -> property:
    return property(lambda self: self._read(name))


for _name in NAMES:
    setattr(Properties, _name, _property(_name))


class Dynamic(Reading):
    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(name)
        return self._read(name)


class MappingSource(Mapping[str, Any]):
    def __init__(self, source: Source) -> None:
        self._recipes = dict(source.fields)
        self._typename = source.typename

    def __getitem__(self, name: str) -> Any:
        if name == "__typename" and self._typename is not None:
            return self._typename
        if name in NAMES:
            note(f"read {name}")
        recipe = self._recipes[name]
        return read(recipe)

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


class TupleSource(NamedTuple("_Fields", [(_name, Any) for _name in (*NAMES, "kind")])):  # type: ignore[misc]
    """Has every field; those nobody gave are null."""

    __slots__ = ()


class DisguisedMapping(Disguised):
    """Only its `__class__` makes it a mapping."""

    def __init__(self, source: Source) -> None:
        super().__init__(dict)
        self._entries = _entries(source)

    def get(self, name: str) -> Any:
        return self._entries.get(name)


class OwnAwait(Plain):
    """Looks awaitable by an attribute of the instance; awaiting it fails."""

    def __init__(self) -> None:
        self.__await__ = lambda: iter(())


def _tuple(source: Source) -> Any:
    fields = dict.fromkeys(NAMES) | {name: build(recipe) for name, recipe in source.fields}
    return TupleSource._make([*fields.values(), source.typename])


CLASSES: dict[str, type] = {}  # declared for types of strawberry schemas, by the name of the type


def _instance(source: Source) -> Any:
    """An instance of the class that was declared for the type, with these attributes and no others."""
    cls = CLASSES.get(source.typename or "", Plain)
    return _with(object.__new__(cls), source, typename=False)


def _instance_of_a_subclass(source: Source) -> Any:
    cls = CLASSES.get(source.typename or "", Plain)
    return _with(object.__new__(type("Heir", (cls,), {})), source, typename=False)


def _cast(source: Source) -> Any:
    """Says by `strawberry.cast` what it stands for."""
    value = _with(Plain(), source)
    return strawberry.cast(CLASSES[source.typename], value) if source.typename in CLASSES else value


def _miscast(source: Source) -> Any:
    """An instance of one type that is cast to another one."""
    return strawberry.cast(next(iter(CLASSES.values()), Plain), _instance(source))


SOURCES: Mapping[str, Callable[[Source], Any]] = {
    "instance": _instance,
    "instance of a subclass": _instance_of_a_subclass,
    "cast": _cast,
    "miscast": _miscast,
    "dict": _entries,
    "user dict": lambda source: UserDict(_entries(source)),
    "proxy of a dict": lambda source: MappingProxyType(_entries(source)),
    "mapping": MappingSource,
    "plain": lambda source: _with(Plain(), source),
    "anonymous": lambda source: _with(Anonymous(), source, typename=False),
    "slots": lambda source: _with(Slots(), source),
    "tuple": _tuple,
    "text": lambda source: _with(TextSource("text"), source),
    "properties": Properties,
    "dynamic": Dynamic,
    "error": lambda source: _with(ErrorSource("a source"), source),
    "callable": lambda source: _with(CallableSource(), source),
    "disguised": DisguisedMapping,
    "own __await__": lambda source: _with(OwnAwait(), source),
}


def kind_of(value: Any) -> Any:
    """The name of the type a source was made for. Null for whatever is no source."""
    with contextlib.suppress(Exception):
        return value.get("__typename") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return None
