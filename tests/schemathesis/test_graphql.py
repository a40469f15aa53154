"""Schemathesis over the GraphQL schema."""

from __future__ import annotations

import pytest
import schemathesis

from tests.schemathesis.served import NOBODY, OWNER, VIEWER, Served, configuration, explore


@pytest.mark.parametrize("caller", [OWNER, VIEWER, NOBODY])
def test_t31_whatever_is_asked_meets_no_error_and_shows_no_internals(served: Served, caller: str) -> None:
    # Its own check takes every GraphQL error for the server's; `explore` looks for those that are.
    config = configuration(served.headers[caller], examples=8, unchecked=["not_a_server_error"])
    schema = schemathesis.graphql.from_asgi("/graphql", served, config=config, headers=served.headers[OWNER])

    outcome = explore(
        schema.exclude(name=["Mutation.uploadImage", "Mutation.importReport", "Mutation.receiveRegistryPush"])
    )  # no text stands for an archive

    assert outcome.problems == []
    assert len({operation for operation, _ in outcome.answers}) > 20
