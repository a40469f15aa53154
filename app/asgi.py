"""The HTTP application: REST, GraphQL, health and metrics behind one chain of middleware."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from app.graphql_view import PATH as GRAPHQL
from app.graphql_view import GraphQLView
from app.headers import REQUEST_ID, ResponseHeaders
from app.health import Probe, Readiness, ask_database, health
from app.metrics import Metrics, Stock
from app.middleware import Admission, FaultBarrier, RequestLog, SingleSlash, UnreadBody
from app.openapi import Answer, description_pages
from app.proxies import TrustedProxies
from app.settings import Settings
from compat_rest.adapter import ROUTE, Directory, bind_routes, method_not_allowed
from compat_rest.envelopes import error_response
from compat_rest.routes import ROUTES
from schema.advisories.repository import feeds
from schema.build import build_schema
from schema.execution.executable import ExecutableSchema
from schema.jobs.repository import count_by_state
from schema.kernel.context import Services
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ports import RateBudget

STATIC = Path(__file__).parent / "static"
READING = ("GET", "HEAD")
METHOD_NOT_ALLOWED = 405


def create_app(settings: Settings, services: Services, *, probes: Mapping[str, Probe] | None = None) -> Starlette:
    """The application on services that are open already; whoever opened them closes them.

    `probes` are what `/api/ready` asks beside the database, by name. Raises ValueError for a REST row that does not fit
    the schema.
    """
    schema, rest = _bound_schema()
    proxies = TrustedProxies(settings.trusted_proxies)
    budget = RateBudget(family="general", requests=settings.rate_limit_per_minute, seconds=60)
    metrics = Metrics(
        documents=schema.documents,
        operations=[row.operation for row in ROUTES],
        take_stock=partial(_take_stock, services.database),
    )
    graphql = GraphQLView(schema, metrics=metrics, budget=budget)
    readiness = Readiness({"database": partial(ask_database, services.database), **(probes or {})})
    sdl = schema.declared.as_str()

    async def print_schema(_request: Request) -> Response:
        return PlainTextResponse(sdl)

    pages: dict[str, Answer] = {
        "/api/health": health,
        "/api/ready": readiness.answer,
        "/metrics": metrics.scrape,
        "/schema.graphql": print_schema,
        "/": _to_graphql,
        **description_pages(schema.graphql, general=budget),
    }
    app = Starlette(
        routes=[
            rest,
            Route(GRAPHQL, graphql),
            WebSocketRoute(GRAPHQL, graphql),
            *(Route(path, Page(path, answer)) for path, answer in pages.items()),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(SingleSlash),
            Middleware(UnreadBody, max_bytes=settings.max_upload_bytes),
            Middleware(RequestLog, metrics=metrics),
            Middleware(ResponseHeaders, proxies=proxies, secure=settings.public_url.startswith("https://")),
            Middleware(FaultBarrier),
            Middleware(Admission, services=services, proxies=proxies, budget=budget),
        ],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False  # `/api/scans/` is not `/api/scans`: one address for one thing
    return app


@cache
def _bound_schema() -> tuple[ExecutableSchema, Directory]:
    """One per process: nothing in it belongs to one application."""
    schema = build_schema()
    return schema, bind_routes(schema.graphql)


class Page:
    """One path that only answers GET and HEAD and is no GraphQL operation, as an ASGI application."""

    def __init__(self, path: str, answer: Answer) -> None:
        self.path = path
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self.path
        if scope["method"] in READING:
            response = await self._answer(Request(scope, receive))
        else:
            response = method_not_allowed(READING, scope[REQUEST_ID])
        await response(scope, receive, send)


async def _take_stock(database: Database) -> Stock:
    async with database.read() as session:
        jobs = await count_by_state(session)
        known = await feeds(session)
    return Stock(
        jobs={state.value: count for state, count in jobs.items()},
        feeds={feed.name: feed.database_date for feed in known if feed.database_date},
    )


async def _to_graphql(_request: Request) -> Response:
    return RedirectResponse(GRAPHQL)


async def _refuse(request: Request, error: Exception) -> Response:
    """What the router and the static files refuse."""
    assert isinstance(error, HTTPException)
    request_id = request.scope[REQUEST_ID]
    if error.status_code == METHOD_NOT_ALLOWED:
        return method_not_allowed(READING, request_id)
    return error_response(HarborGuardError(ErrorCode.NOT_FOUND, "Not found"), request_id)
