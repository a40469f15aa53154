"""Schemathesis over the GraphQL schema."""

from __future__ import annotations

import pytest
import schemathesis
from graphql import parse_value
from hypothesis import strategies as st

from tests.schemathesis.served import NOBODY, OWNER, VIEWER, Served, configuration, explore

# No text stands for a body that comes in pieces.
_SENT = ("uploadImage", "importReport", "receiveRegistryPush", "uploadScan", "uploadPatch", "uploadExport")
_MESSAGES = ("{}", '{agentId: "sen-1", status: "idle"}', "{name: [null], capabilities: {}}", '"text"', "null", "[1]")
_VEX = (
    "{}",
    "{statements: [null, {}, 1], _context: 1}",
    '{bomFormat: "CycloneDX", vulnerabilities: [{id: 1, affects: [[]]}]}',
)
schemathesis.graphql.scalar("VexDocument", st.sampled_from([parse_value(each) for each in _VEX]))
schemathesis.graphql.scalar("SensorMessage", st.sampled_from([parse_value(each) for each in _MESSAGES]))


@pytest.mark.parametrize("caller", [OWNER, VIEWER, NOBODY])
def test_t31_whatever_is_asked_meets_no_error_and_shows_no_internals(served: Served, caller: str) -> None:
    # Its own check takes every GraphQL error for the server's; `explore` looks for those that are.
    config = configuration(served.headers[caller], examples=8, unchecked=["not_a_server_error"])
    schema = schemathesis.graphql.from_asgi("/graphql", served, config=config, headers=served.headers[OWNER])

    outcome = explore(schema.exclude(name=[f"Mutation.{each}" for each in _SENT]))

    assert outcome.problems == []
    assert len({operation for operation, _ in outcome.answers}) > 20
