"""What is kept between executions: bounded, without anything of a caller's, and gone with the document."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from graphql import DocumentNode, GraphQLSchema, build_schema, execute, parse

from schema.execution.documents import DocumentCache
from schema.execution.executor import CompiledExecutor
from schema.execution.plain import MAX_CLASSES
from schema.execution.plans import MAX_VARIANTS, Plan, Variant
from tests.schema.execution.runs import operation_of

SCHEMA = build_schema("""
    type Query { rows(about: String, wanted: [Wanted!]): [Row!]!, row: Row }
    type Row { name: String, number: Int, row: Row, found(wanted: [Wanted!]): String }
    input Wanted { text: String! }
""")


def rows(count: int = 2) -> dict[str, Any]:
    return {"rows": [{"name": f"row {index}", "number": index} for index in range(count)], "row": {"name": "row"}}


def plan_of(text: str, schema: GraphQLSchema = SCHEMA) -> tuple[Plan, DocumentNode]:
    document = parse(text)
    return Plan(schema, document, operation_of(document)), document


def ran(plan: Plan, document: DocumentNode, root: Any, **variables: Any) -> Any:
    result = execute(plan.schema, document, root, variable_values=variables, executor_class=CompiledExecutor, plan=plan)
    assert not result.errors  # type: ignore[union-attr]
    return result.data  # type: ignore[union-attr]


def test_there_is_a_variant_for_each_choice_of_what_is_skipped_and_they_are_bounded() -> None:
    names = [f"v{index}" for index in range(MAX_VARIANTS.bit_length() + 1)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: name @include(if: ${name})" for name in names)
    plan, document = plan_of(f"query ({declared}) {{ row {{ number {fields} }} }}")

    for choice in range(2 ** len(names)):
        chosen = {name: bool(choice >> index & 1) for index, name in enumerate(names)}
        data = ran(plan, document, rows(), **chosen)
        assert data == {"row": {"number": None, **{name: "row" for name in names if chosen[name]}}}
        assert len(plan._variants) <= MAX_VARIANTS


def test_variables_that_decide_nothing_make_no_variant() -> None:
    plan, document = plan_of("query ($about: String, $no: Boolean!) { rows(about: $about) { name @skip(if: $no) } }")

    for index in range(10):
        ran(plan, document, rows(), about=f"about {index}", no=False)

    assert len(plan._variants) == 1


def test_a_variant_in_use_outlives_its_place_in_the_plan() -> None:
    """While its rows are completed, other executions push its variant out."""
    plan, document = plan_of("query ($no: Boolean!) { rows { name row { name @skip(if: $no) } } }")

    class Nested:
        name = "nested"

    class Intruding:
        name = "intruding"

        @property
        def row(self) -> Nested:
            plan._variants.clear()
            ran(plan, document, rows(), no=True)
            return Nested()

    data = ran(plan, document, {"rows": [Intruding(), Intruding()]}, no=False)

    assert data == {"rows": [{"name": "intruding", "row": {"name": "nested"}}] * 2}


def _reachable(start: Any, kind: type) -> list[Any]:
    """Everything of a class that an object keeps alive, apart from modules, classes and what is global to them."""
    found, seen, todo = [], {id(start)}, [start]
    while todo:
        for each in gc.get_referents(todo.pop()):
            if id(each) in seen or isinstance(each, type) or type(each).__name__ in {"module", "builtin_function"}:
                continue
            seen.add(id(each))
            if isinstance(each, kind):
                found.append(each)
            if not (isinstance(each, dict) and "__builtins__" in each and "__file__" in each):
                todo.append(each)
    return found


class Text(str):
    """A text that can be told from others, and found."""

    __slots__ = ("__weakref__",)


def test_a_plan_holds_nothing_of_a_callers_variables_or_data() -> None:
    plan, document = plan_of("""
        query ($about: String, $wanted: [Wanted!], $no: Boolean!) {
            rows(about: $about, wanted: $wanted) { name number @skip(if: $no) found(wanted: $wanted) }
        }
    """)
    wanted = {"text": Text("a caller's text")}
    root = {"rows": [{"name": Text("a caller's row"), "number": "7"}]}

    ran(plan, document, root, about=Text("a caller's subject"), wanted=[wanted], no=False)

    assert len(plan._variants) == 1
    assert _reachable(plan, Text) == []
    assert _reachable([root], Text) != []  # the search does find them


def test_what_an_execution_used_is_freed_after_it() -> None:
    plan, document = plan_of("{ rows { name row { name } } }")

    class Row:
        def __init__(self) -> None:
            self.name = "name"
            self.row = None

    row = Row()
    freed = weakref.ref(row)
    ran(plan, document, {"rows": [row]})
    del row
    gc.collect()

    assert freed() is None


def test_an_evicted_document_frees_its_plan_and_functions() -> None:
    cache = DocumentCache(size=1)
    prepared = cache.prepare(SCHEMA, "{ rows { name row { number } } }").operation(None)
    assert prepared is not None
    ran(prepared.plan, prepared.document, {"rows": [{"name": "row", "row": {"number": 1}}]})
    (variant,) = prepared.plan._variants.values()
    functions = [*variant._objects.values(), *variant._lists.values()]
    assert len(functions) >= 3
    watched = [weakref.ref(each) for each in (prepared.plan, variant, prepared.document, *functions)]

    del prepared, variant, functions
    cache.prepare(SCHEMA, "{ row { name } }")
    gc.collect()

    assert [each() for each in watched] == [None] * len(watched)


def test_classes_made_up_for_every_request_do_not_pile_up() -> None:
    plan, document = plan_of("{ rows { name number } }")

    for index in range(2 * MAX_CLASSES):
        made_up = type(f"MadeUp{index}", (), {"name": "row", "number": index})
        assert ran(plan, document, {"rows": [made_up()]}) == {"rows": [{"name": "row", "number": index}]}

    (variant,) = plan._variants.values()
    tables = [*variant._dispatches.values(), *_reachable(variant, dict)]
    assert max(sum(isinstance(key, type) for key in table) for table in tables) <= MAX_CLASSES


def test_two_operations_of_a_document_share_nothing() -> None:
    document = parse("""
        query One($v: Boolean!) { row { ...F } }
        query Two($v: Boolean!) { row { ...F row { name } } }
        fragment F on Row { name row { number @skip(if: $v) } }
    """)
    root = {"row": {"name": "outer", "row": {"name": "inner", "number": 1}}}
    one, two = (Plan(SCHEMA, document, operation_of(document, name)) for name in ("One", "Two"))

    def data(plan: Plan, name: str, *, v: bool) -> Any:
        result = execute(SCHEMA, document, root, None, {"v": v}, name, executor_class=CompiledExecutor, plan=plan)
        return result.data  # type: ignore[union-attr]

    for _ in range(2):
        assert data(one, "One", v=False) == {"row": {"name": "outer", "row": {"number": 1}}}
        assert data(two, "Two", v=True) == {"row": {"name": "outer", "row": {"name": "inner"}}}
        assert data(one, "One", v=True) == {"row": {"name": "outer", "row": {}}}
        assert data(two, "Two", v=False) == {"row": {"name": "outer", "row": {"number": 1, "name": "inner"}}}


def test_a_plan_of_another_operation_is_not_used() -> None:
    plan, _ = plan_of("{ row { name } }")
    document = parse("{ row { number } }")

    result = execute(SCHEMA, document, rows(), executor_class=CompiledExecutor, plan=plan)

    assert result.data == {"row": {"number": None}}  # type: ignore[union-attr]
    assert plan._variants == {}


def test_a_variant_is_found_by_value_and_kept() -> None:
    plan, document = plan_of("query ($no: Boolean!) { row { name @skip(if: $no) } }")
    ran(plan, document, rows(), no=False)
    (first,) = plan._variants.values()
    ran(plan, document, rows(), no=False)
    (second,) = plan._variants.values()

    assert isinstance(first, Variant)
    assert second is first
