"""T-02: whatever a stranger asks with another organization's id, the answer is the one for an id that never was.

The operations come from the GraphQL schema and the REST table, so a new one is in this test before it is released.
"""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
from graphql import is_required_argument

from compat_rest.routes import ROUTES, Envelope, Route
from schema.execution.documents import PreparedOperation
from schema.execution.executable import Request
from schema.kernel.context import RequestContext
from schema.kernel.ids import IdPrefix, new_id
from tests.app.site import Site
from tests.isolation.documents import IdPlace, document, id_places, required_values, root_fields
from tests.isolation.estate import SCHEMA, Estate, body_of, query_of, run

GRAPHQL = SCHEMA.graphql
FIELDS = {name: (kind, field) for kind, name, field in root_fields(GRAPHQL)}
WITH_IDS = [
    pytest.param(name, place, id=f"{name}-{place.field or place.argument}")
    for name, (_, field) in FIELDS.items()
    for place in id_places(field)
]
WITHOUT_IDS = [
    name
    for name, (kind, field) in FIELDS.items()
    if kind == "query" and not any(is_required_argument(field.args[place.argument]) for place in id_places(field))
]
PATH_IDS = {
    "scanId": IdPrefix.SCAN,
    "imageId": IdPrefix.IMAGE,
    "vulnId": IdPrefix.VULNERABILITY,
    "registryId": IdPrefix.REGISTRY,
    "keyId": IdPrefix.API_KEY,
    "tokenId": IdPrefix.PERSONAL_ACCESS_TOKEN,
    "sensorId": IdPrefix.SENSOR,
    "jobId": IdPrefix.SCAN,
    "batchId": IdPrefix.SCAN_BATCH,
    "syncId": IdPrefix.SYNC,
    "tagId": IdPrefix.TAG,
    "operationId": IdPrefix.TRIAGE_OPERATION,
    "ruleId": IdPrefix.TRIAGE_RULE,
    "filterId": IdPrefix.SAVED_FILTER,
    "attestationId": IdPrefix.ATTESTATION,
    "alertId": IdPrefix.ALERT,
    "trustedKeyId": IdPrefix.TRUSTED_KEY,
}
# Whoever names many things is told of each by itself.
ROW_BY_ROW = {("triageVulnerabilities", "ids")}
# Their callers are sensors, of which tests/app/test_sensor_protocol.py has strangers: nobody else learns anything.
PROTOCOL = "sensor-protocol"
PATH_VALUES = {"engine": "syft", "provider": "harbor", "cve": "CVE-canary-omega"}
WITH_PATHS = [pytest.param(route, id=f"{route.method} {route.path}") for route in ROUTES if "Id}" in route.path]
LISTS = [pytest.param(route, id=route.path) for route in ROUTES if route.method == "GET" and "{" not in route.path]


def variables(name: str, place: IdPlace, value: str, caller: Estate) -> dict[str, Any]:
    """The value at the place, and whatever else is needed: other ids are the caller's own."""
    field = FIELDS[name][1]
    others = [
        each for each in id_places(field) if each.field is None and is_required_argument(field.args[each.argument])
    ]
    given = required_values(field) | {each.argument: caller.ids[each.prefix] for each in others}
    if name == "triageVulnerabilities":
        given["input"] = {"ids": [caller.ids[IdPrefix.VULNERABILITY]], "comment": "noted"}
    if place.field is None:
        given[place.argument] = value
    else:
        given[place.argument][place.field] = value
    return given


async def outcome(site: Site, caller: Estate, name: str, given: dict[str, Any]) -> tuple[str, str]:
    """(everything the caller was told, the same without the ids it sent)."""
    kind, field = FIELDS[name]
    text = document(kind, name, field)
    if kind == "subscription":
        return await first_event(site, caller, text, given)
    result = await run(site, caller.principal, text, given)
    told = json.dumps(
        {"data": result.data, "errors": [[error.message, error.extensions] for error in result.errors or []]},
        default=str,
    )
    return told, re.sub(r"\b[a-z]{2,4}-[0-9a-v]{26}\b", "ID", told)


async def first_event(site: Site, caller: Estate, text: str, given: dict[str, Any]) -> tuple[str, str]:
    context = RequestContext(
        services=site.services, principal_or_none=caller.principal, request_id="req", client_ip="192.0.2.9"
    )
    operation = SCHEMA.operation(Request(text, given), context)
    assert isinstance(operation, PreparedOperation), operation
    async with aclosing(SCHEMA.stream(operation, given, context)) as results:
        result = await anext(results)
    told = json.dumps([result.data, [[e.message, e.extensions] for e in result.errors or []]], default=str)
    return told, re.sub(r"\b[a-z]{2,4}-[0-9a-v]{26}\b", "ID", told)


@pytest.mark.parametrize(("name", "place"), WITH_IDS)
async def test_t02_a_foreign_id_is_a_missing_id(
    site: Site, estates: tuple[Estate, Estate], name: str, place: IdPlace
) -> None:
    owner, stranger = estates
    foreign = owner.tenant.organization_id if place.prefix is IdPrefix.ORGANIZATION else owner.ids[place.prefix]
    told_foreign, foreign_shape = await outcome(site, stranger, name, variables(name, place, foreign, stranger))
    _, missing_shape = await outcome(site, stranger, name, variables(name, place, new_id(place.prefix), stranger))
    assert foreign_shape == missing_shape
    refused = "Vulnerability not found" if (name, place.field) in ROW_BY_ROW else '"code": "'
    assert refused in told_foreign, "a foreign id is an error, never an empty success"
    leaked = [mark for mark in owner.marks() if mark in told_foreign.replace(foreign, "")]
    assert leaked == []


@pytest.mark.parametrize("name", WITHOUT_IDS)
async def test_t02_a_list_shows_nothing_of_others(site: Site, estates: tuple[Estate, Estate], name: str) -> None:
    owner, stranger = estates
    told, _ = await outcome(site, stranger, name, required_values(FIELDS[name][1]))
    assert told.endswith('"errors": []}'), "nothing is proven by a refusal"
    assert [mark for mark in owner.marks() if mark in told] == []


@pytest.mark.parametrize("route", WITH_PATHS)
async def test_t02_rest_a_foreign_id_is_a_missing_id(site: Site, estates: tuple[Estate, Estate], route: Route) -> None:
    owner, stranger = estates
    answers = []
    for ids in (owner.ids, {prefix: new_id(prefix) for prefix in owner.ids}):
        path = re.sub(r"\{(\w+)\}", partial(_path_value, ids), route.path)
        async with site.client(headers={"X-HarborGuard-Client": "test"}) as client:
            await site.sign_in(client, stranger.tenant)
            response = await client.request(
                route.method, path, params=query_of(route, stranger.ids), json=body_of(route)
            )
        told = re.sub(r"req-[0-9a-f]+", "REQUEST", response.text)
        answers.append((response.status_code, told))
        assert [mark for mark in owner.marks() if mark in told] == []
    assert answers[0] == answers[1]
    assert answers[0][0] == (403 if route.tag == PROTOCOL else 404)


def _path_value(ids: dict[IdPrefix, str], segment: re.Match[str]) -> str:
    return PATH_VALUES.get(segment[1]) or ids[PATH_IDS[segment[1]]]


@pytest.mark.parametrize("route", LISTS)
async def test_t02_rest_a_list_shows_nothing_of_others(
    site: Site, estates: tuple[Estate, Estate], route: Route
) -> None:
    owner, stranger = estates
    async with site.client(headers=stranger.tenant.headers()) as client:
        response = await client.get(route.path, params=query_of(route, stranger.ids))
    assert [mark for mark in owner.marks() if mark in response.text] == []
    # An API key has no tokens of its own; everything else is there to be listed.
    is_refused = route.operation == "listPersonalAccessTokens" or route.tag == PROTOCOL
    assert response.status_code == (403 if is_refused else 200)


async def test_t02_the_owner_is_served(site: Site, estates: tuple[Estate, Estate]) -> None:
    """The control: each id of the matrix is one that works for its owner."""
    owner, _ = estates
    for name, (kind, field) in FIELDS.items():
        places = list(id_places(field))
        if kind == "query" and places:
            told, _ = await outcome(site, owner, name, variables(name, places[0], owner.ids[places[0].prefix], owner))
            assert '"errors": []' in told, told
            assert owner.canary in told


def test_t02_every_path_segment_is_known() -> None:
    segments = {name for route in ROUTES for name in re.findall(r"\{(\w+)\}", route.path)}
    assert segments <= PATH_IDS.keys() | PATH_VALUES.keys()
    assert any(route.envelope is Envelope.EVENTS for route in ROUTES)
