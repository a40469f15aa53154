from __future__ import annotations

from typing import Any

import pytest

from compat_rest.envelopes import STATUS_OF, error_body, error_response, list_body, page_body
from schema.kernel.errors import ErrorCode, HarborGuardError, Issue, invalid


def page(number: int, total_pages: int, size: int = 50) -> dict[str, Any]:
    return {
        "items": [],
        "meta": {
            "page": number,
            "pageSize": size,
            "total": total_pages * size,
            "totalIsExact": True,
            "totalPages": total_pages,
            "hasNext": number < total_pages,
            "hasPrev": number > 1,
        },
    }


@pytest.mark.parametrize(
    ("number", "query", "links"),
    [
        (1, [], {"self": "/api/scans?page=1&limit=50", "next": "/api/scans?page=2&limit=50"}),
        (
            2,
            [("status", "COMPLETE"), ("page", "2"), ("sort", "scannedAt:desc")],
            {
                "self": "/api/scans?page=2&limit=50&status=COMPLETE&sort=scannedAt:desc",
                "next": "/api/scans?page=3&limit=50&status=COMPLETE&sort=scannedAt:desc",
                "prev": "/api/scans?page=1&limit=50&status=COMPLETE&sort=scannedAt:desc",
            },
        ),
        (3, [("page", "3")], {"self": "/api/scans?page=3&limit=50", "prev": "/api/scans?page=2&limit=50"}),
    ],
)
def test_links_echo_the_path_and_the_query(number: int, query: list[tuple[str, str]], links: dict[str, str]) -> None:
    assert page_body(page(number, 3), path="/api/scans", query=query)["links"] == links


def test_links_encode_what_a_caller_wrote() -> None:
    body = page_body(page(1, 1), path="/api/scans", query=[("search", 'a&b=ü "x"'), ("severity", "HIGH,LOW")])

    assert body["links"]["self"] == "/api/scans?page=1&limit=50&search=a%26b%3D%C3%BC%20%22x%22&severity=HIGH,LOW"


def test_meta_has_exactly_the_documented_fields() -> None:
    given = page(1, 7)
    given["meta"]["endCursor"] = "v1.x"

    meta = page_body(given, path="/api/scans", query=[])["meta"]

    assert list(meta) == ["page", "pageSize", "total", "totalPages", "hasNext", "hasPrev"]


def test_a_total_that_was_counted_up_to_a_bound_says_so() -> None:
    given = page(1, 200)
    given["meta"]["totalIsExact"] = False

    assert page_body(given, path="/api/scans", query=[])["meta"]["totalIsExact"] is False


@pytest.mark.parametrize(("items", "pages"), [([], 0), ([1, 2], 1)])
def test_list_that_is_never_paged_is_one_page(items: list[int], pages: int) -> None:
    body = list_body(items, path="/api/notes/n/tags", query=[])

    assert body == {
        "data": items,
        "meta": {
            "page": 1,
            "pageSize": len(items),
            "total": len(items),
            "totalPages": pages,
            "hasNext": False,
            "hasPrev": False,
        },
        "links": {"self": "/api/notes/n/tags"},
    }


def test_every_code_has_a_status() -> None:
    assert set(STATUS_OF) == set(ErrorCode)


def test_error_has_issues_only_when_there_are_some() -> None:
    plain = error_body(HarborGuardError(ErrorCode.NOT_FOUND, "Scan not found"), "req-1")
    detailed = error_body(invalid(Issue("image", "Required"), Issue("", "too much")), "req-2")

    assert plain == {"error": {"code": "NOT_FOUND", "message": "Scan not found", "requestId": "req-1"}}
    assert detailed == {
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "image: Required, too much",
            "requestId": "req-2",
            "issues": [{"path": "image", "message": "Required"}, {"path": "", "message": "too much"}],
        }
    }


def test_unavailable_says_when_to_come_back() -> None:
    response = error_response(HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "Busy"), "req-1")

    assert response.status_code == 503
    assert 1 <= int(response.headers["retry-after"]) <= 5
