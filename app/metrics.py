"""Prometheus metrics. Labels come from bounded sets: no tenant, no id, no name a caller chose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from schema.execution.documents import DocumentCache
from schema.kernel.errors import HarborGuardError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
UNMATCHED = "unmatched"
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What the database says of itself at a scrape."""

    jobs: Mapping[str, int]  # by state
    feeds: Mapping[str, datetime]  # of when the data of each advisory feed is


class Metrics:
    """The metrics of one application, in a registry of its own.

    `operations` are the names of our own documents, the only ones that become labels. `take_stock` is asked at every
    scrape.
    """

    def __init__(
        self,
        *,
        documents: DocumentCache,
        operations: Collection[str],
        take_stock: Callable[[], Awaitable[Stock]],
    ) -> None:
        self.registry = CollectorRegistry()
        self._operations = frozenset(operations)
        self._take_stock = take_stock
        self._requests = Counter(
            "harborguard_http_requests", "HTTP requests.", ("method", "route", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "harborguard_http_request_seconds",
            "Time to the end of an answer, in seconds.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._graphql = Counter(
            "harborguard_graphql_operations",
            "GraphQL operations by name; `other` stands for every name that is not one of ours.",
            ("operation", "result"),
            registry=self.registry,
        )
        self._jobs = Gauge("harborguard_jobs", "Durable jobs by state.", ("state",), registry=self.registry)
        self._feeds = Gauge(
            "harborguard_advisory_feed_timestamp_seconds",
            "Of when the data of an advisory feed is, in seconds since 1970; time() less this is its age.",
            ("feed",),
            registry=self.registry,
        )
        self.registry.register(_Documents(documents))

    def observe_request(self, *, method: str, route: str | None, status: int, seconds: float) -> None:
        method = method if method in _METHODS else OTHER
        route = route or UNMATCHED
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)

    def count_operation(self, name: str | None, *, failed: bool) -> None:
        operation = name if name in self._operations else OTHER
        self._graphql.labels(operation, "error" if failed else "ok").inc()

    async def scrape(self, _request: Request) -> Response:
        """GET /metrics. What cannot be read right now is left out rather than failing the scrape."""
        self._jobs.clear()
        self._feeds.clear()
        try:
            stock = await self._take_stock()
        except HarborGuardError:
            stock = Stock(jobs={}, feeds={})
        for state, count in stock.jobs.items():
            self._jobs.labels(state).set(count)
        for feed, moment in stock.feeds.items():
            self._feeds.labels(feed).set(moment.timestamp())
        return PlainTextResponse(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE})


class _Documents(Collector):
    """Hits and misses of the document cache, read where they are counted."""

    def __init__(self, documents: DocumentCache) -> None:
        self._documents = documents

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily(
            "harborguard_graphql_documents", "Look-ups of parsed and validated documents.", labels=["result"]
        )
        family.add_metric(["hit"], self._documents.hits)
        family.add_metric(["miss"], self._documents.misses)
        return [family]
