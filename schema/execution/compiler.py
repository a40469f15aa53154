"""From a selection set to one Python function that completes an object, and from a list of objects to one loop.

A compiled function takes `x` (the executor of this run), a value and its path. It returns the completed value, or raises:
`Unresolved` when the value is of a kind it was not made for, `Pending` when some part has to be awaited, and the located
error of a non-null field, which belongs to a place further up. Every value is read once: when a field turns out to be
special, `x.resume` goes on by the book from that very field, with the value that was read.

Which function completes a value is looked up by the value's class (`Dispatch`). Null, awaitables, errors and whatever else
is special have a class of their own, so the fast path needs no test for them.

A path is `None`, a `Path` of graphql-core, or a tuple of the same three members: a tuple costs a tenth of a Path, and
only errors and resolvers ever look at one.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from graphql import (
    GraphQLAbstractType,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path

from schema.execution.plain import (
    ByClass,
    Reading,
    Unresolved,
    as_it_is,
    asks_for_strawberry_type,
    is_callable,
    is_ordinary,
    leaf_expression,
    may_have_any_attribute,
    reading_of,
    resolves_strawberry_type,
)

if TYPE_CHECKING:
    from schema.execution.executor import CompiledExecutor
    from schema.execution.plans import Variant

Place: TypeAlias = "Path | tuple[Any, str | int, str | None] | None"
Complete: TypeAlias = "Callable[[CompiledExecutor, Any, Place], Any]"

_DECIDING = frozenset({"skip", "include"})  # have done their work when fields are collected
_LISTS = frozenset({list, tuple})
_TYPE_CAST = "__as_strawberry_type__"  # set by strawberry.cast on an instance


def as_path(place: Place) -> Path | None:
    """The same path as graphql-core writes it."""
    if place is None or type(place) is Path:
        return place
    prev, key, typename = place
    return Path(as_path(prev), key, typename)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A field where a document selects it."""

    parent_type: GraphQLObjectType
    definition: GraphQLField
    details: FieldDetailsList

    def info(self, executor: CompiledExecutor, place: Place) -> GraphQLResolveInfo[Any]:
        """`info` as the field's resolver would see it, from the path of the field or of an item of its list."""
        path = as_path(place)
        while path is not None and isinstance(path.key, int):
            path = path.prev
        assert path is not None
        nodes = [details.node for details in self.details]
        return cast(
            "GraphQLResolveInfo[Any]", executor.build_resolve_info(self.definition, nodes, self.parent_type, path)
        )


def _unresolved(_x: CompiledExecutor, value: Any, _path: Place) -> Any:
    raise Unresolved(value)


def _null(_x: CompiledExecutor, _value: Any, _path: Place) -> Any:
    return None


class Dispatch(ByClass[Complete]):
    """What completes a value of a type at a site, by the class of the value."""

    def __init__(self, variant: Variant, kind: GraphQLOutputType, site: Site) -> None:
        super().__init__(self._choose)
        self._variant = variant
        self._nullable = not isinstance(kind, GraphQLNonNull)
        self._kind = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        self._site = site
        definition = site.definition
        # graphql-core's default resolver calls what can be called; at a site with a resolver of its own that is done.
        self._calls = definition.resolve is None

    def _choose(self, cls: type) -> Complete:
        if cls is type(None):
            return _null if self._nullable else _unresolved
        if isinstance(self._kind, GraphQLList):
            return self._variant.list_function(self._kind.of_type, self._site) if cls in _LISTS else _unresolved
        if not is_ordinary(cls) or (self._calls and is_callable(cls)):
            return _unresolved
        if is_abstract_type(self._kind):
            return self._switch(cls, self._kind)
        return self._object(cls, cast("GraphQLObjectType", self._kind))

    def _object(self, cls: type, kind: GraphQLObjectType) -> Complete:
        try:
            complete = self._variant.object_function(
                kind,
                self._site.details,
                from_mapping=issubclass(cls, Mapping),
                tested=not may_have_any_attribute(cls),
            )
        except (GraphQLError, RecursionError):
            return _unresolved  # its fields cannot be collected, which is an error at a later moment
        is_type_of = kind.is_type_of
        if is_type_of is None:
            return complete
        if not asks_for_strawberry_type(is_type_of):
            return _unresolved

        def complete_if_it_is(x: CompiledExecutor, value: Any, path: Place) -> Any:
            if not is_type_of(value, cast("GraphQLResolveInfo[Any]", None)):
                raise Unresolved(value)
            return complete(x, value, path)

        return complete_if_it_is

    def _switch(self, cls: type, kind: GraphQLAbstractType) -> Complete:
        """By the concrete type: what a mapping says of itself, or the strawberry type a class was declared as."""
        if issubclass(cls, Mapping):
            return self._by_typename(cls, kind) if kind.resolve_type is None else _unresolved
        if resolves_strawberry_type(kind.resolve_type):
            return self._by_strawberry_type(cls, kind)
        return _unresolved

    def _by_typename(self, cls: type, kind: GraphQLAbstractType) -> Complete:
        schema = self._variant.schema
        possible = {each.name: self._object(cls, each) for each in schema.get_possible_types(kind)}

        def complete(x: CompiledExecutor, value: Any, path: Place) -> Any:
            name = value.get("__typename")
            if not x.knows_typenames or type(name) is not str or name not in possible:
                raise Unresolved(value)
            return possible[name](x, value, path)

        return complete

    def _by_strawberry_type(self, cls: type, kind: GraphQLAbstractType) -> Complete:
        """Strawberry decides by the class where it is a declared type without type variables, unless a value was cast."""
        declared = vars(cls).get("__strawberry_definition__")
        found = next(
            (
                each
                for each in self._variant.schema.get_possible_types(kind)
                if each.extensions.get("strawberry-definition") is declared
            ),
            None,
        )
        if declared is None or found is None or declared.is_graphql_generic or declared.concrete_of is not None:
            return _unresolved
        if isinstance(kind, GraphQLInterfaceType) and declared.name != found.name:
            return _unresolved  # strawberry gives the declared name, which a name converter has made another one of
        complete_object = self._object(cls, found)

        def complete(x: CompiledExecutor, value: Any, path: Place) -> Any:
            if getattr(value, _TYPE_CAST, None) is not None:
                raise Unresolved(value)
            return complete_object(x, value, path)

        return complete


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a document selects of an object type, in order: response keys, and the site of each field."""

    kind: GraphQLObjectType
    keys: tuple[str, ...]
    sites: tuple[Site, ...]


@dataclass(slots=True)
class _Source:
    """The text of a function, and the objects its names stand for."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    def add(self, *lines: str) -> None:
        self.lines.extend(lines)

    def compile(self, title: str) -> Complete:
        # The text is made of our own templates and of names the GraphQL grammar allows ([_A-Za-z0-9]), quoted.
        namespace = dict(self.names)
        exec(compile("\n".join(self.lines), f"<compiled {title}>", "exec"), namespace)  # noqa: S102
        return cast("Complete", namespace["complete"])


def compile_object(variant: Variant, selection: Selection, *, from_mapping: bool, tested: bool) -> Complete:
    """The function that completes a source as an object of the selection's type.

    Unless it is known by a source's class or by the executor's test, the function looks whether it has to be awaited.
    """
    source = _Source(names={"selection": selection, "Path": Path, "as_path": as_path, "Unresolved": Unresolved})
    results = [f"r{index}" for index in range(len(selection.keys))]
    done = f"({', '.join(results)},)" if results else "()"
    source.add("def complete(x, s, p):")
    if not tested:
        source.add("    if hasattr(s, '__await__'): raise Unresolved(s)")
    if results:
        source.add(f"    {' = '.join(results)} = None")
    source.add("    n = 0", "    try:")
    resolved = []
    for index, (key, site) in enumerate(zip(selection.keys, selection.sites, strict=True)):
        source.add(f"        n = {index}")
        if _add_plain(source, variant, index, key, site, from_mapping=from_mapping):
            continue
        resolved.append(index)
        source.names[f"g{index}"] = site.details
        path = f"Path(as_path(p), {key!r}, {selection.kind.name!r})"
        source.add(f"        r{index} = x.execute_field(selection.kind, s, g{index}, {path}, None)")
    pairs = ", ".join(f"{key!r}: r{index}" for index, key in enumerate(selection.keys))
    source.add(f"        d = {{{pairs}}}")
    source.add("    except Exception as e:", f"        return x.resume(selection, s, p, n, {done}, e)")
    if resolved:
        # The fields with a resolver: those whose result is not there yet.
        waiting = ", ".join(f"({selection.keys[index]!r}, r{index})" for index in resolved)
        source.add(f"    w = [k for k, r in ({waiting},) if x.is_awaitable(r)]", "    if w: x.wait_for(d, w)")
    source.add("    return d")
    return source.compile(selection.kind.name)


def _add_plain(source: _Source, variant: Variant, index: int, key: str, site: Site, *, from_mapping: bool) -> bool:
    """Adds the lines that complete a field without the executor. False when the field is not plain."""
    if site.details[0].node.name.value == "__typename":
        source.add(f"        r{index} = {site.parent_type.name!r}")
        return True
    reading = reading_of(site.definition)
    if reading is None or _has_other_directives(site.details):
        return False
    how, name = reading
    graphql_name = site.details[0].node.name.value
    if how is Reading.SOURCE:
        value = "s"
    elif how is Reading.ATTRIBUTE:
        value = f"s.{name}" if name.isidentifier() and not keyword.iskeyword(name) else f"getattr(s, {name!r})"
    elif from_mapping:
        value = f"s.get({graphql_name!r})"
    else:
        value = f"getattr(s, {graphql_name!r}, None)"
    source.add(f"        v = {value}")
    kind = site.definition.type
    inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if is_leaf_type(inner):
        expression = leaf_expression(inner, nullable=inner is kind, names=source.names, name=f"c{index}", value="v")
        source.add(f"        r{index} = {expression}")
    else:
        source.names[f"d{index}"] = variant.dispatch(kind, site.parent_type, site.details)
        source.add(f"        r{index} = d{index}[type(v)](x, v, (p, {key!r}, {site.parent_type.name!r}))")
    return True


def compile_list(variant: Variant, item_kind: GraphQLOutputType, site: Site) -> Complete:
    """The function that completes a list or tuple whose items are of a type."""
    source = _Source(names={"item_kind": item_kind, "site": site})
    inner = item_kind.of_type if isinstance(item_kind, GraphQLNonNull) else item_kind
    source.add("def complete(x, v, p):")
    if (test := as_it_is(inner)) is not None:
        source.add("    for i in v:", f"        if not ({test.format(v='i')}): break")
        source.add("    else: return [*v]")
    source.add("    results = []", "    add = results.append", "    rest = iter(v)", "    try:")
    if is_leaf_type(inner):
        expression = leaf_expression(inner, nullable=inner is item_kind, names=source.names, name="c", value="i")
        source.add("        for i in rest:", f"            add({expression})")
    else:
        source.names["d"] = variant.dispatch(item_kind, site.parent_type, site.details)
        source.add("        k = 0", "        for i in rest:")
        source.add("            add(d[type(i)](x, i, (p, k, None)))", "            k += 1")
    source.add("        return results")
    source.add("    except Exception as e:", "        return x.resume_list(item_kind, site, i, rest, results, p, e)")
    return source.compile(f"[{item_kind}]")


def _has_other_directives(details: FieldDetailsList) -> bool:
    """Whether a directive stands at the field that may mean anything."""
    return any(directive.name.value not in _DECIDING for each in details for directive in each.node.directives or ())
