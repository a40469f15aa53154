"""What describes the REST API: the OpenAPI document in three forms, and two pages that show it to people.

Nobody needs a credential for them: a document says nothing about any organization.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import orjson
import yaml
from graphql import GraphQLSchema
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from app.headers import PAGE_POLICY
from app.middleware import PROBE_BUDGET
from compat_rest.openapi import openapi_document
from compat_rest.openapi_30 import as_openapi_30
from schema.kernel.ports import RateBudget

Answer = Callable[[Request], Awaitable[Response]]

_PAGES = Path(__file__).parent / "static/openapi"
_MEDIA_TYPES = {
    "/openapi.json": "application/json",
    "/openapi-3.0.json": "application/json",
    "/openapi/harborguard-v1.yaml": "application/yaml",
}


def description_pages(schema: GraphQLSchema, *, general: RateBudget) -> dict[str, Answer]:
    """By path. `general` is the budget of operations that have none of their own."""
    documents = {path: partial(_print_document, path, schema, general) for path in _MEDIA_TYPES}
    return {
        **documents,
        "/docs": partial(_show, _PAGES / "scalar.html"),
        "/docs/swagger": partial(_show, _PAGES / "swagger.html"),
    }


async def _show(page: Path, _request: Request) -> Response:
    return FileResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})


async def _print_document(path: str, schema: GraphQLSchema, general: RateBudget, _request: Request) -> Response:
    texts = await run_in_threadpool(_texts, schema, general)
    return Response(texts[path], media_type=_MEDIA_TYPES[path])


@cache
def _texts(schema: GraphQLSchema, general: RateBudget) -> dict[str, bytes | str]:
    """The OpenAPI document by path; made when it is first asked for, because it takes most of a second."""
    document = openapi_document(schema, version=version("harborguard"), general=general, probes=PROBE_BUDGET)
    text = orjson.dumps(document)
    # Read back, because YAML would write a part that is shared in memory as an alias.
    plain = yaml.safe_dump(orjson.loads(text), sort_keys=False, allow_unicode=True, width=120)
    return {
        "/openapi.json": text,
        "/openapi-3.0.json": orjson.dumps(as_openapi_30(document)),
        "/openapi/harborguard-v1.yaml": plain,
    }
