"""The real application as Schemathesis calls it, and a run of Schemathesis over it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.schemas import BaseSchema
from starlette.types import ASGIApp, Receive, Scope, Send

from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode
from schema.kernel.principal import Role
from tests.app.site import Site, copy_sqlite, open_site
from tests.isolation.estate import PASSWORD, Estate, Unlimited, furnish

OWNER, VIEWER, NOBODY = "owner", "viewer", "nobody"
# What no answer may show: a stack trace, a statement, a driver's words, a path of the machine.
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/tmp/|/home/|sqlite|sqlalchemy|\[SQL|\b(?:SELECT|INSERT INTO|UPDATE|DELETE) "
)
FAILURE = f'"code":"{ErrorCode.INTERNAL_ERROR.value}"'  # and not where somebody has saved the word
# No violation, whatever the parameter's schema says: an empty value means that it was not given (docs/rest.md).
LEFT_OUT = re.compile(r"[?&][A-Za-z]+=(?:&|'|$)")


class Served:
    """An organization that owns one of everything, behind the application. Its lifespan opens and closes it, so what it
    holds belongs to the event loop that calls it, and that is one of Schemathesis's own.
    """

    app: ASGIApp
    headers: dict[str, dict[str, str]]
    _own_token: str

    def __init__(self, template: Path, directory: Path) -> None:
        self._directory = directory
        self._url = copy_sqlite(template, directory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            if scope["method"] == "DELETE":  # the caller shall not end itself
                scope["path"] = scope["path"].replace(self._own_token, "pat-none")
            await self.app(scope, receive, send)
            return
        await receive()
        database = Database(self._url)
        async with open_site(database, self._directory) as site:
            object.__setattr__(site.services, "rates", Unlimited())
            await self._prepare(site, await furnish(site, "alpha"))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await database.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _prepare(self, site: Site, estate: Estate) -> None:
        async with site.client(headers={"X-HarborGuard-Client": "test"}) as client:
            login = {"email": estate.tenant.email, "password": PASSWORD}
            await _post(client, "/api/auth/login", login)
            key = await _post(client, "/api/api-keys", {"name": "viewer", "role": Role.VIEWER.value})
            token = await _post(client, "/api/personal-access-tokens", {"name": "explorer"})
        self.app, self._own_token = site.app, token["id"]
        self.headers = {
            OWNER: {"Authorization": f"Bearer {token['secret']}"},
            VIEWER: {"X-API-Key": key["secret"]},
            NOBODY: {},
        }


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, str]) -> dict[str, str]:
    response = await client.post(path, json=body)
    assert response.is_success, response.text
    data: dict[str, str] = response.json()["data"]
    return data


def configuration(
    headers: dict[str, str], *, examples: int, unchecked: Sequence[str] = (), phases: dict[str, Any] | None = None
) -> SchemathesisConfig:
    """The same cases at every run, valid and invalid ones, judged by every check but the `unchecked`."""
    # Not everything of a valid form can be accepted: no schema says that a date lies ahead, that a role may be granted,
    # that a text names an image, or what a query may cost.
    off = {name: {"enabled": False} for name in ("positive_data_acceptance", *unchecked)}
    generation = {
        "max-examples": examples,
        "deterministic": True,
        "database": "none",
        "with-security-parameters": False,
    }
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "headers": headers,
            "generation": generation,
            "checks": off,
            "phases": phases or {},
            "suppress-health-check": ["all"],
            "max-stream-events": 1,  # a scan that nobody works on makes a stream without an end
        }
    )


@dataclass
class Outcome:
    """What a run found, and how often each operation answered with which status."""

    problems: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def succeeded(self) -> set[str]:
        return {operation for operation, status in self.answers if 200 <= status < 300}


def explore(schema: BaseSchema) -> Outcome:
    outcome = Outcome()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for operation, status, text, sent in _interactions(event.recorder):
                outcome.answers[operation, status] += 1
                if any(found not in sent for found in INTERNALS.findall(text)):
                    outcome.problems.append(f"{operation} shows internals: {text}")
                if status >= 500 or FAILURE in text:
                    outcome.problems.append(f"{operation} fails: {text}")
            outcome.problems += _failures(event.recorder)
        elif isinstance(event, events.NonFatalError | events.FatalError | events.Interrupted):
            outcome.problems.append(str(getattr(event, "value", None) or getattr(event, "exception", event)))
    return outcome


def _interactions(recorder: ScenarioRecorder) -> Iterator[tuple[str, int, str, str]]:
    """The operation, the status, the body of the answer, and where it was sent: what an answer may repeat."""
    for key, interaction in recorder.interactions.items():
        if interaction.response is not None and key in recorder.cases:
            label = recorder.cases[key].value.operation.label
            yield (
                label,
                interaction.response.status_code,
                interaction.response.text,
                unquote_plus(interaction.request.uri),
            )


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for checks in recorder.checks.values():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                if check.name == "negative_data_rejection" and LEFT_OUT.search(check.failure_info.code_sample):
                    continue
                yield f"{check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
