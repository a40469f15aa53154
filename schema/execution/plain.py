"""What can be compiled: fields whose resolution is no more than reading their source, and values that are what they seem.

Nothing is compiled on the strength of a name or a flag. A field is plain when its resolver *is* the function strawberry
makes for fields without resolver, extension and permission (its code object and its closure are compared), or when it has
none and graphql-core's own default applies. Strawberry leaves `resolve._is_default` true on protected fields; a prototype
that believed it gave out protected values. The versions these private parts belong to are pinned (docs/adr/0002).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, StrEnum
from types import CodeType, FunctionType, GeneratorType, ModuleType
from typing import Any, TypeVar, cast

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
)
from graphql.pyutils import inspect, is_awaitable
from graphql.type import GRAPHQL_MAX_INT, GRAPHQL_MIN_INT
from sqlalchemy import Row
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField
from strawberry.types.union import StrawberryUnion

from schema.kernel.rows import PartOfSource

MAX_CLASSES = 256  # remembered in one place
T = TypeVar("T")


class Unresolved(Exception):  # noqa: N818 -- a signal inside the executor, never an error anybody sees
    """A value was read that the compiled code is not made for; it has to be completed by the book."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


class Pending(Exception):  # noqa: N818 -- a signal inside the executor, never an error anybody sees
    """Part of a value has to be awaited; `awaitable` gives the whole of it."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        super().__init__()
        self.awaitable = awaitable


class Reading(StrEnum):
    """How a plain field's value is read off its source."""

    ATTRIBUTE = "attribute"  # strawberry: getattr(source, python name), which has to be there
    SOURCE = "source"  # the source itself
    DEFAULT = "default"  # graphql-core: the item of a mapping or an attribute, None without; called if it can be


def _nested_code(function: Callable[..., Any], *names: str) -> CodeType:
    """The code of a function defined inside another one. Raises LookupError when the library is not the pinned one."""
    code = function.__code__
    for name in names:
        found = [each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name]
        if len(found) != 1:
            msg = f"{function.__qualname__} has no single inner function {name}; see docs/adr/0002-pinned-versions.md"
            raise LookupError(msg)
        code = found[0]
    return code


_BASIC_RESOLVER = _nested_code(GraphQLCoreConverter.from_resolver, "_get_basic_result")
_IS_TYPE_OF = _nested_code(GraphQLCoreConverter.from_object, "_get_is_type_of", "is_type_of")
_INTERFACE_TYPE = _nested_code(GraphQLCoreConverter.from_interface, "_get_resolve_type", "resolve_type")
_UNION_TYPE = _nested_code(StrawberryUnion.get_type_resolver, "_resolve_union_type")


def reading_of(field: GraphQLField) -> tuple[Reading, str] | None:
    """How to read a field and under which name (empty: its GraphQL name); None when it is not provably plain."""
    if field.args or field.subscribe is not None:
        return None
    if field.resolve is None:
        return Reading.DEFAULT, ""
    declared = _declared_plain(field.resolve)
    if declared is None:
        return None
    how = Reading.SOURCE if type(declared) is PartOfSource else Reading.ATTRIBUTE
    return how, declared.python_name


def _declared_plain(resolve: Callable[..., Any]) -> StrawberryField | None:
    """The field a resolver was made for by strawberry, if it only reads an attribute or gives its source."""
    if not isinstance(resolve, FunctionType) or resolve.__code__ is not _BASIC_RESOLVER or resolve.__closure__ is None:
        return None
    declared: StrawberryField = resolve.__closure__[_BASIC_RESOLVER.co_freevars.index("field")].cell_contents
    is_known = type(declared) is PartOfSource or (
        type(declared) is StrawberryField and declared.default_resolver is getattr
    )
    return declared if is_known and declared.is_basic_field and not declared.permission_classes else None


def asks_for_strawberry_type(is_type_of: object) -> bool:
    """Whether it is strawberry's own predicate, which looks at the value alone and not at `info`."""
    return isinstance(is_type_of, FunctionType) and is_type_of.__code__ is _IS_TYPE_OF


def resolves_strawberry_type(resolve_type: object) -> bool:
    """Whether it is strawberry's own resolver of an interface's or union's type."""
    return isinstance(resolve_type, FunctionType) and resolve_type.__code__ in (_INTERFACE_TYPE, _UNION_TYPE)


_NEVER_ORDINARY = (
    type(None),
    type(Undefined),
    BaseException,
    GeneratorType,  # may be a coroutine of the old kind
    type,  # shows its instances' `__await__` as its own
    ModuleType,  # these two show what other objects have
    *weakref.ProxyTypes,
)


def is_ordinary(cls: type) -> bool:
    """Whether every instance is a plain value: neither null, awaitable, an error, nor able to pretend to be.

    Only attributes of its own can make an instance awaitable, where instances may have any: see `may_have_any_attribute`.
    """
    if issubclass(cls, _NEVER_ORDINARY) or _defined(cls, "__await__"):
        return False
    if _defined(cls, "__class__") is not object.__dict__["__class__"]:
        return False
    # Where attributes can appear out of nothing, the class says nothing. A database row is known to have its columns only.
    return issubclass(cls, Row) or not (
        _defined(cls, "__getattr__") or isinstance(_defined(cls, "__getattribute__"), FunctionType)
    )


def may_have_any_attribute(cls: type) -> bool:
    """Whether instances have a dictionary of attributes, which is where graphql-core would find an `__await__`, too."""
    return cls.__dictoffset__ != 0


def is_callable(cls: type) -> bool:
    return _defined(cls, "__call__") is not None


def _defined(cls: type, name: str) -> object:
    """What instances find under a special name. Asking the class would find what its metaclass has, too."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


class ByClass(dict[type, T]):
    """What is found out about a class when its first instance appears. Bounded, for programs that make up classes."""

    def __init__(self, find: Callable[[type], T]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, cls: type) -> T:
        if len(self) >= MAX_CLASSES:
            self.clear()
        self[cls] = answer = self._find(cls)
        return answer


def _is_plain_leaf(cls: type) -> bool:
    return is_ordinary(cls) and not is_callable(cls) and not may_have_any_attribute(cls)


def leaf_converter(kind: GraphQLLeafType) -> Callable[[Any], Any]:
    """Completes a leaf value exactly as the executor does; raises Unresolved for what is no plain value, and Pending where
    what is written has to be awaited.
    """
    ordinary, convert = ByClass(_is_plain_leaf), kind.coerce_output_value

    def complete(value: Any) -> Any:
        if not ordinary[type(value)]:
            raise Unresolved(value)
        written = convert(value)
        if not ordinary[type(written)]:
            if written is None or written is Undefined:
                raise TypeError(_not_written(kind, value, written))
            if is_awaitable(written):
                raise Pending(written)
        return written

    return complete


def _not_written(kind: GraphQLLeafType, value: object, written: object) -> str:
    """The executor's words."""
    return (
        f"Expected `{inspect(kind)}.coerce_output_value({inspect(value)})`"
        f" to return non-nullable value, returned: {inspect(written)}"
    )


def enum_names(kind: GraphQLEnumType) -> tuple[type[Enum], Mapping[Any, str]] | None:
    """For a strawberry enum: its class, and the name of each member and of each text that stands for one.

    The names come from the type itself, value by value, so they are what it would have written. None for another enum.
    """
    wrapped: type[Enum] | None = getattr(kind, "wrapped_cls", None)
    if wrapped is None or not issubclass(wrapped, Enum) or is_callable(wrapped) or not is_ordinary(wrapped):
        return None
    names: dict[Any, str] = {}
    for member in wrapped:
        for value in (member, member.value):
            if isinstance(value, str | Enum):
                names[value] = kind.coerce_output_value(value)
    return wrapped, names


_LARGEST_FLOAT = sys.float_info.max
# What a value has to be to be written as it is. `{v}` is an expression without side effects.
_AS_IT_IS: Mapping[Any, str] = {
    GraphQLString: "type({v}) is str",
    GraphQLID: "type({v}) is str",
    GraphQLBoolean: "type({v}) is bool",
    GraphQLInt: f"type({{v}}) is int and {GRAPHQL_MIN_INT} <= {{v}} <= {GRAPHQL_MAX_INT}",
    GraphQLFloat: f"type({{v}}) is float and {-_LARGEST_FLOAT!r} <= {{v}} <= {_LARGEST_FLOAT!r}",
}


def as_it_is(kind: object) -> str | None:
    """The test, on `{v}`, for values of a leaf type that are written unchanged; None where there are none such."""
    return _AS_IT_IS[GraphQLString] if str in _by_class(kind) else _AS_IT_IS.get(kind)


def _by_class(kind: object) -> Mapping[type, Callable[[Any], Any] | None]:
    """What a scalar of ours says it does to values of exactly some classes: a function, None for nothing."""
    found = getattr(kind.coerce_output_value, "by_class", {}) if isinstance(kind, GraphQLScalarType) else {}
    return cast("Mapping[type, Callable[[Any], Any] | None]", found)


def leaf_expression(kind: GraphQLLeafType, *, nullable: bool, names: dict[str, Any], name: str, value: str) -> str:
    """A Python expression that completes the variable `value`. What it refers to is put into `names`, under `name`."""
    names[name] = leaf_converter(kind)
    null = f" or {value} is None" if nullable else ""
    otherwise = f"{name}({value})"
    for number, (cls, write) in enumerate(_by_class(kind).items()):
        if write is not None:
            names[f"{name}_{number}_class"], names[f"{name}_{number}"] = cls, write
            otherwise = f"{name}_{number}({value}) if type({value}) is {name}_{number}_class else {otherwise}"
    test = as_it_is(kind)
    if test is not None:
        return f"{value} if {test.format(v=value)}{null} else {otherwise}"
    known = enum_names(kind) if isinstance(kind, GraphQLEnumType) else None
    if known is None:
        return f"None if {value} is None else {otherwise}" if nullable else otherwise
    names[f"{name}_class"], table = known[0], known[1]
    names[f"{name}_names"] = table.get
    written = f"({name}_names({value}) or {name}({value}))"
    test = f"type({value}) is {name}_class or type({value}) is str"
    return f"{written} if {test} else {'None if ' + value + ' is None else ' if nullable else ''}{name}({value})"
