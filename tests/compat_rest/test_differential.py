"""T-92: what REST answers is what GraphQL answers, for every route that reads, whatever it is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from graphql import GraphQLEnumType

import compat_rest
from bench.findings import furnish as furnish_findings
from compat_rest.endpoints import Endpoint
from compat_rest.envelopes import STATUS_OF
from compat_rest.parameters import Parameter
from compat_rest.routes import ROUTES, Envelope
from schema.build import build_schema
from schema.kernel.errors import ErrorCode
from tests.app.site import Site, site
from tests.app.test_statement_budgets import PATH_IDS, PATH_VALUES
from tests.isolation.estate import Estate, query_of
from tests.isolation.furnished import database_url, estates, furnished, furnished_postgresql, furnished_sqlite

__all__ = ["database_url", "estates", "furnished", "furnished_postgresql", "furnished_sqlite", "site"]

OPERATIONS = Path(compat_rest.__file__).parent / "operations"
GRAPHQL = build_schema().graphql
META = ("page", "pageSize", "total", "totalPages", "hasNext", "hasPrev")
FINDINGS = 150
ASKED = 8  # times, of each route
TEXTS = ("a", "openssl", "CVE-2026", "100 %", "native", "app", "none", "*", "é")
SORTS = ("severity", "cveId", "detectedAt", "cvss", "triageStatus", "name", "createdAt", "riskScore", "nonsense")


def endpoints() -> Iterator[Endpoint]:
    """Those that read and answer JSON. A sensor's have callers of their own."""
    answers = {Envelope.SINGLE, Envelope.LIST, Envelope.PAGE}
    for route in ROUTES:
        reads = route.method == "GET" and not route.takes and route.tag != "sensor-protocol"
        if reads and route.envelope in answers:
            text = (OPERATIONS / f"{route.operation}.graphql").read_text()
            yield Endpoint.bind(route, GRAPHQL, {route.operation: text})


def _value(parameter: Parameter, draw: Random, estate: Estate) -> Any:
    if parameter.is_list:
        return [_one(parameter, draw, estate) for _ in range(draw.randint(1, 3))]
    return _one(parameter, draw, estate)


def _one(parameter: Parameter, draw: Random, estate: Estate) -> Any:
    leaf = parameter.leaf
    if isinstance(leaf, GraphQLEnumType):
        return draw.choice(sorted(leaf.values))
    if parameter.name == "sort":
        return f"{draw.choice(SORTS)}:{draw.choice(('asc', 'desc'))}"
    choices: dict[str, tuple[Any, ...]] = {
        "Boolean": (True, False),
        "Int": (1, 2, 3, 50, 200, 201),
        "Float": (0.0, 0.25, 1.0, 2.0),
        "DateTime": ("2026-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z"),
        "ID": tuple(sorted(estate.ids.values())),
    }
    return draw.choice(choices.get(leaf.name, (*TEXTS, estate.canary)))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _path_value(estate: Estate, segment: re.Match[str]) -> str:
    return PATH_VALUES.get(segment[1]) or estate.ids[PATH_IDS[segment[1]]]


def _of_graphql(endpoint: Endpoint, response: httpx.Response) -> Any:
    """(status, what is answered) as REST says it."""
    told = response.json()
    if told.get("errors"):
        error = told["errors"][0]
        code = ErrorCode(error["extensions"]["code"])
        return STATUS_OF[code], {"code": code, "message": error["message"]}
    (data,) = told["data"].values()
    for name in endpoint.route.data:
        data = data[name]
    if endpoint.route.envelope is Envelope.PAGE:
        # REST has a header for a total that is a lower bound.
        return 200, {"data": data["items"], "meta": {name: data["meta"][name] for name in META}}
    return 200, {"data": data}


def _of_rest(endpoint: Endpoint, response: httpx.Response) -> Any:
    told = response.json()
    if "error" in told:
        return response.status_code, {name: told["error"][name] for name in ("code", "message")}
    shown = {"data", "meta"} if endpoint.route.envelope is Envelope.PAGE else {"data"}
    return response.status_code, {name: value for name, value in told.items() if name in shown}


async def test_t92_rest_says_what_graphql_says(site: Site, estates: tuple[Estate, Estate]) -> None:
    estate = estates[0]
    await furnish_findings(site.database, estate.tenant.organization_id, FINDINGS)
    draw = Random(92)  # noqa: S311 -- the same questions at every run
    answered: dict[str, set[int]] = {}
    async with site.client(headers={"X-HarborGuard-Client": "test"}) as client:
        await site.sign_in(client, estate.tenant)
        now = site.services.clock()
        object.__setattr__(site.services, "clock", lambda: now)  # what is made at the moment of asking is alike
        for endpoint in endpoints():
            route = endpoint.route
            for asked in range(ASKED):
                given = {
                    each.name: _value(each, draw, estate)
                    for each in endpoint.query_parameters
                    if each.required or (asked and draw.random() < 0.35)
                } | ({} if asked else query_of(route, estate.ids))
                variables = {
                    each.name: _path_value(estate, re.match(r"\{(\w+)\}", f"{{{each.name}}}"))  # type: ignore[arg-type]
                    for each in endpoint.path_parameters
                } | given
                path = re.sub(r"\{(\w+)\}", partial(_path_value, estate), route.path)
                rest = await client.get(path, params={name: _text(value) for name, value in given.items()})
                document = (OPERATIONS / f"{route.operation}.graphql").read_text()
                graphql = await client.post("/graphql", json={"query": document, "variables": variables})
                said = _of_rest(endpoint, rest)
                assert said == _of_graphql(endpoint, graphql), (route.operation, given)
                answered.setdefault(route.operation, set()).add(said[0])
    assert {operation for operation, statuses in answered.items() if 200 not in statuses} == set()


def test_t92_everything_that_reads_is_asked() -> None:
    assert len(list(endpoints())) > 40


@pytest.mark.parametrize("value", [["A", "B"], True, 3, 0.25, "a,b"])
def test_values_are_written_as_the_query_string_has_them(value: Any) -> None:
    assert _text(value) == {"['A', 'B']": "A,B", "True": "true"}.get(str(value), str(value))
