"""T-01: no query of a tenant table without the tenant predicate, read from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import schema.tables  # noqa: F401 -- declares every table
from schema.kernel.columns import TenantTable

ROOT = Path(__file__).parent.parent
PACKAGES = ("schema", "app", "workers", "compat_rest")
STATEMENTS = {"select", "update", "delete"}
PREDICATES = {"tenant", "tenant_rows", "across_tenants"}


def tenant_tables(base: type[TenantTable] = TenantTable) -> set[str]:
    names: set[str] = set()
    for table in base.__subclasses__():
        names |= {table.__name__} | tenant_tables(table)
    return names


def bypasses(source: str, tables: set[str]) -> Iterator[int]:
    """Line numbers of queries of a tenant table in functions that do not name the predicate for it.

    A predicate counts where it stands in the function, or in a function of the same module that it calls.
    """
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    predicates = {function.name: _predicates(function) for function in functions}
    for function in functions:
        scoped = predicates[function.name].union(*(predicates.get(name, set()) for name in _called(function)))
        for call in _calls(function):
            if isinstance(call.func, ast.Name) and call.func.id in STATEMENTS:
                queried = {
                    node.id for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Name)
                } & tables
                # A join reaches further tables through the first one's rows; one scoped table bounds them all.
                joined = bool(scoped) and "join" in _called(function)
                if queried and not queried & scoped and not joined:
                    yield call.lineno


def _calls(function: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


def _called(function: ast.AST) -> set[str]:
    """Names of the functions and methods it calls."""
    names = {call.func.id for call in _calls(function) if isinstance(call.func, ast.Name)}
    return names | {call.func.attr for call in _calls(function) if isinstance(call.func, ast.Attribute)}


def _predicates(function: ast.AST) -> set[str]:
    """Tables whose predicate it names."""
    return {
        call.args[0].id
        for call in _calls(function)
        if isinstance(call.func, ast.Name)
        and call.func.id in PREDICATES
        and call.args
        and isinstance(call.args[0], ast.Name)
    }


def test_t01_every_query_of_a_tenant_table_is_scoped() -> None:
    tables = tenant_tables()
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in bypasses(path.read_text(), tables)
    ]
    assert found == []


def test_t01_a_seeded_violation_is_caught() -> None:
    source = "async def leak(session, scan_id):\n    return select(Scan.id).where(Scan.id == scan_id)\n"
    assert list(bypasses(source, tenant_tables())) == [2]


def test_t01_the_predicate_of_another_table_does_not_help() -> None:
    source = (
        "async def leak(session, organization_id, scan_id):\n"
        "    await session.execute(delete(Scan).where(Scan.id == scan_id))\n"
        "    return select(Image.id).where(tenant(Image, organization_id))\n"
    )
    assert list(bypasses(source, tenant_tables())) == [2]


def test_the_walk_sees_the_tables_and_their_queries() -> None:
    tables = tenant_tables()
    assert {"Scan", "Image", "Vulnerability", "ApiKey", "AuditEvent"} <= tables
    source = (ROOT / "schema/scans/repository.py").read_text()
    assert source.count("select(") > 5
