"""Logs: one structured line per event, with the id of the request it belongs to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

# Values under these keys are never written, whoever passes them by mistake.
SECRET_KEYS = frozenset(
    {"authorization", "cookie", "credential_secret", "key", "master_key", "password", "secret", "set_cookie", "token"}
)


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: replaces secrets by their key."""
    for key in event:
        if key.lower().replace("-", "_") in SECRET_KEYS:
            event[key] = "[removed]"
    return event


def _dump(event: EventDict, *, default: Callable[[Any], Any], **_options: Any) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


class _StandardError:
    """Writes an event that is rendered already, past the logging of the standard library: that costs several times as much
    as the rest of a line.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def write(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = exception = write


def configure_logging(*, level: str, json: bool) -> None:
    """For the whole process, once: our own events and those of libraries, on standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        scrub,
    ]
    renderers: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dump)]
        if json
        # The default traceback shows local variables, and with them whatever secret is at hand.
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=_StandardError,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Ours say it already: requests in app.middleware, unexpected errors of resolvers in schema.execution.errors.
    for name in ("uvicorn.access", "strawberry.execution"):
        logging.getLogger(name).disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in ("aiosqlite", "alembic", "arq", "httpcore", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
