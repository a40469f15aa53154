"""What a REST answer looks like: `{"data": …}`, `{"data": […], "meta", "links"}`, `{"error": {…}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.responses import Response

from schema.kernel.errors import ErrorCode, HarborGuardError

STATUS_OF = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.VALIDATION_ERROR: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.PLAN_LIMIT: 402,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.CONFLICT: 409,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.SERVICE_UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 504,
}
UNAVAILABLE_RETRY_SECONDS = 2
META_FIELDS = ("page", "pageSize", "total", "totalPages", "hasNext", "hasPrev")
# Only there, and false, where a long list was counted up to a bound: `total` then means "at least".
INEXACT = "totalIsExact"


class JsonResponse(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def error_body(error: HarborGuardError, request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code.value, "message": error.message, "requestId": request_id}
    if error.issues:
        body["issues"] = [{"path": issue.path, "message": issue.message} for issue in error.issues]
    return {"error": body}


def error_headers(error: HarborGuardError) -> dict[str, str]:
    if error.code is ErrorCode.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)}
    if error.code is ErrorCode.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}


def error_response(
    error: HarborGuardError, request_id: str, *, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    sent = error_headers(error) | dict(headers or {})
    return JsonResponse(error_body(error, request_id), status_code=STATUS_OF[error.code], headers=sent)


def page_body(page: Mapping[str, Any], *, path: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A page with its place and the links beside it. `query` is what the caller asked, in the order it was asked."""
    meta = {name: page["meta"][name] for name in META_FIELDS}
    if not page["meta"][INEXACT]:
        meta[INEXACT] = False
    return {"data": page["items"], "meta": meta, "links": _links(meta, path, query)}


def list_body(items: Sequence[Any], *, path: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A list that the domain bounds itself and never pages: one page that holds everything."""
    meta = {
        "page": 1,
        "pageSize": len(items),
        "total": len(items),
        "totalPages": 1 if items else 0,
        "hasNext": False,
        "hasPrev": False,
    }
    return {"data": items, "meta": meta, "links": {"self": _link(path, query)}}


def _links(meta: Mapping[str, Any], path: str, query: Sequence[tuple[str, str]]) -> dict[str, str]:
    filters = [(name, value) for name, value in query if name not in {"page", "limit"}]

    def link(page: int) -> str:
        return _link(path, [("page", str(page)), ("limit", str(meta["pageSize"])), *filters])

    links = {"self": link(meta["page"])}
    if meta["hasNext"]:
        links["next"] = link(meta["page"] + 1)
    if meta["hasPrev"]:
        links["prev"] = link(meta["page"] - 1)
    return links


def _link(path: str, query: Sequence[tuple[str, str]]) -> str:
    encoded = urlencode(query, quote_via=quote, safe=",:")
    return f"{quote(path)}?{encoded}" if encoded else quote(path)
