"""What stands around a field stays around it: nothing but a field without any of it is read straight off its source.

Every row type below has a plain field beside the protected one, so that its rows are compiled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import strawberry
from graphql import ExecutionResult, GraphQLSchema, parse
from graphql.execution import MiddlewareManager
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission, PermissionExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from schema.execution.plain import reading_of
from tests.schema.execution.runs import planned, run

SECRET = "the secret"
ROWS = 3


class Nobody(BasePermission):
    message = "nobody may"

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        return False


class NobodyLater(BasePermission):
    message = "nobody may"

    async def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        return False


class Hidden(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        return "hidden"


class HiddenLater(FieldExtension):
    async def resolve_async(self, next_: Any, source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        return "hidden"


class HiddenField(StrawberryField):
    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        return "hidden"


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION])
class Classified:
    """Means something to `HiddenWhereClassified`."""


class HiddenWhereClassified(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        field = info._field
        return "hidden" if any(isinstance(each, Classified) for each in field.directives) else next_(source, info)


def _schema(field: Any, **config: Any) -> GraphQLSchema:
    """Rows with a field `secret` that is declared as this."""

    @strawberry.type
    class Row:
        name: str
        secret: str | None = field

    @strawberry.type
    class Query:
        rows: list[Row]
        row: Row

    return strawberry.Schema(Query, config=StrawberryConfig(**config))._schema


@dataclass
class Source:
    name: str = "a name"
    secret: Any = SECRET


class Root:
    def __init__(self) -> None:
        self.rows = [Source() for _ in range(ROWS)]
        self.row = Source()


def _result(schema: GraphQLSchema) -> ExecutionResult:
    return run(schema, "{ rows { name secret } row { name secret } }", Root())


DENYING: dict[str, Callable[[], Any]] = {
    "permission class": lambda: strawberry.field(permission_classes=[Nobody]),
    "asynchronous permission class": lambda: strawberry.field(permission_classes=[NobodyLater]),
    "permission extension": lambda: strawberry.field(extensions=[PermissionExtension([Nobody()])]),
    "permission class with a default": lambda: strawberry.field(permission_classes=[Nobody], default=None),
}
HIDING: dict[str, Callable[[], Any]] = {
    "field extension": lambda: strawberry.field(extensions=[Hidden()]),
    "asynchronous field extension": lambda: strawberry.field(extensions=[HiddenLater()]),
    "a field of a class of its own": lambda: HiddenField(python_name=None, graphql_name=None, type_annotation=None),
    "schema directive with an extension": lambda: strawberry.field(
        directives=[Classified()], extensions=[HiddenWhereClassified()]
    ),
    "resolver": lambda: strawberry.field(resolver=lambda: "hidden", graphql_type=str | None),
}


@pytest.mark.parametrize("protection", sorted(DENYING))
def test_denied_fields_stay_denied(protection: str) -> None:
    result = _result(_schema(DENYING[protection]()))

    row = {"name": "a name", "secret": None}
    assert result.data == {"rows": [row] * ROWS, "row": row}
    assert [error.message for error in result.errors or ()] == ["nobody may"] * (ROWS + 1)


@pytest.mark.parametrize("protection", sorted(HIDING))
def test_replaced_values_stay_replaced(protection: str) -> None:
    result = _result(_schema(HIDING[protection]()))

    row = {"name": "a name", "secret": "hidden"}
    assert (result.data, result.errors) == ({"rows": [row] * ROWS, "row": row}, None)


def test_the_fast_path_is_what_these_fields_are_kept_from() -> None:
    schema = _schema(strawberry.field(permission_classes=[Nobody]))
    row = schema.type_map["Row"]
    assert reading_of(row.fields["name"]) is not None  # type: ignore[attr-defined]
    assert reading_of(row.fields["secret"]) is None  # type: ignore[attr-defined]


def test_a_plain_field_is_read_from_its_source() -> None:
    """The control: without protection the value is given out."""
    result = _result(_schema(strawberry.field()))
    assert result.data is not None
    assert [row["secret"] for row in result.data["rows"]] == [SECRET] * ROWS


def test_a_protected_object_is_kept_with_everything_below_it() -> None:
    @strawberry.type
    class Inner:
        secret: str

    @strawberry.type
    class Row:
        inner: Inner | None = strawberry.field(permission_classes=[Nobody])
        inners: list[Inner] | None = strawberry.field(permission_classes=[Nobody])

    @strawberry.type
    class Query:
        rows: list[Row]

    source = Source()
    row = Row(inner=source, inners=[source])  # type: ignore[arg-type,list-item]
    root = type("Root", (), {"rows": [row]})()
    result = run(strawberry.Schema(Query)._schema, "{ rows { inner { secret } inners { secret } } }", root)

    assert result.data == {"rows": [{"inner": None, "inners": None}]}
    assert [error.message for error in result.errors or ()] == ["nobody may"] * 2


def test_a_default_resolver_of_the_config_is_asked_for_every_field() -> None:
    asked = []

    def resolver(source: Any, name: str) -> Any:
        asked.append(name)
        return "hidden" if name == "secret" else getattr(source, name)

    result = _result(_schema(strawberry.field(), default_resolver=resolver))

    assert result.data is not None
    assert [row["secret"] for row in result.data["rows"]] == ["hidden"] * ROWS
    assert asked.count("secret") == 3 * (ROWS + 1)  # `run` executes three times


def test_a_resolver_that_was_replaced_is_called() -> None:
    schema = _schema(strawberry.field())
    schema.type_map["Row"].fields["secret"].resolve = lambda _source, _info: "hidden"  # type: ignore[attr-defined]

    result = _result(schema)

    assert result.data is not None
    assert [row["secret"] for row in result.data["rows"]] == ["hidden"] * ROWS


def test_a_resolver_that_wraps_strawberrys_own_is_called() -> None:
    schema = _schema(strawberry.field())
    field = schema.type_map["Row"].fields["secret"]  # type: ignore[attr-defined]
    plain = field.resolve
    field.resolve = lambda source, info: plain(source, info).replace(SECRET, "hidden")

    result = _result(schema)

    assert result.data is not None
    assert [row["secret"] for row in result.data["rows"]] == ["hidden"] * ROWS


def _hide(next_: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
    return "hidden" if info.field_name == "secret" else next_(source, info, **arguments)


class Hiding:
    def resolve(self, next_: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
        return _hide(next_, source, info, **arguments)


@pytest.mark.parametrize("middleware", [[_hide], (Hiding(),), MiddlewareManager(_hide), MiddlewareManager(Hiding())])
def test_middleware_sees_every_field(middleware: Any) -> None:
    schema = _schema(strawberry.field())

    result = run(schema, "{ rows { name secret } }", Root(), middleware=middleware)

    assert result.data == {"rows": [{"name": "a name", "secret": "hidden"}] * ROWS}


def test_a_field_resolver_of_the_caller_sees_every_field_without_one() -> None:
    schema = GraphQLSchema(_schema(strawberry.field()).query_type)
    for kind in ("Query", "Row"):
        for field in schema.type_map[kind].fields.values():  # type: ignore[attr-defined]
            field.resolve = None

    result = planned(
        schema,
        parse("{ rows { name secret } }"),
        root_value=Root(),
        field_resolver=lambda source, info: (
            "hidden" if info.field_name == "secret" else getattr(source, info.field_name)
        ),
    )

    assert result.data == {"rows": [{"name": "a name", "secret": "hidden"}] * ROWS}


class Refusal(Exception):  # noqa: N818 -- an expected outcome
    pass


@strawberry.type
class Refused:
    reason: str


class Refusing(strawberry.ExceptionHandler[Refusal, Refused]):
    def handle(self, exception: Refusal, *, field: Any, info: Any) -> Refused:
        return Refused(reason=str(exception))


def test_an_exception_handler_sees_what_reading_a_field_raises() -> None:
    @strawberry.type
    class Value:
        name: str

    @strawberry.type
    class Row:
        name: str
        value: Annotated[Value | Refused, strawberry.union("ValueOrRefused")]

    @strawberry.type
    class Query:
        rows: list[Row]

    class Raising:
        name = "a name"

        @property
        def value(self) -> Any:
            raise Refusal("not today")

    root = type("Root", (), {"rows": [Raising()]})()
    schema = strawberry.Schema(Query, exception_handlers=[Refusing()])._schema
    result = run(schema, "{ rows { name value { ... on Refused { reason } } } }", root)

    assert (result.data, result.errors) == ({"rows": [{"name": "a name", "value": {"reason": "not today"}}]}, None)


def test_an_interface_declares_nothing_that_its_types_have_lifted() -> None:
    """A permission on an interface's field is each type's own; one that is declared anew without it has none."""

    @strawberry.interface
    class Named:
        secret: str | None = strawberry.field(permission_classes=[Nobody])

    @strawberry.type
    class Guarded(Named):
        pass

    @strawberry.type
    class Open(Named):
        secret: str | None

    @strawberry.type
    class Query:
        all: list[Named]

    root = type("Root", (), {"all": [Guarded(secret=SECRET), Open(secret=SECRET)]})()
    schema = strawberry.Schema(Query, types=[Guarded, Open])._schema
    result = run(schema, "{ all { __typename secret } }", root)

    assert result.data == {
        "all": [{"__typename": "Guarded", "secret": None}, {"__typename": "Open", "secret": SECRET}],
    }


def test_a_union_member_keeps_its_permissions() -> None:
    @strawberry.type
    class One:
        secret: str | None = strawberry.field(permission_classes=[Nobody])

    @strawberry.type
    class Two:
        secret: str | None

    @strawberry.type
    class Query:
        all: list[Annotated[One | Two, strawberry.union("Any")]]

    root = type("Root", (), {"all": [One(secret=SECRET), Two(secret=SECRET)]})()
    result = run(
        strawberry.Schema(Query)._schema,
        "{ all { ... on One { secret } ... on Two { secret } } }",
        root,
    )

    assert result.data == {"all": [{"secret": None}, {"secret": SECRET}]}
