"""What an execution comes to, in a form that can be compared: result, errors, and what the code of schema and data saw."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from graphql import ExecutionResult, GraphQLError

from tests.schema.execution.recipes import JOURNAL, Journal


@dataclass(frozen=True, slots=True)
class Outcome:
    data: Any
    errors: list[Any]
    events: list[str]
    unstarted: int  # coroutines of the data that were neither awaited nor closed
    warnings: int  # about awaitables that nobody awaited, the executor's own included
    unhandled: list[str]  # what the event loop was told of


def form(value: Any) -> Any:
    """A value with its types and the order of its keys; two values of one form are the same to a client."""
    if isinstance(value, dict):
        return {"type": type(value).__name__, "items": [(key, form(each)) for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return (type(value).__name__, [form(each) for each in value])
    cls = type(value)  # not `__class__`, which may say anything
    return (cls.__name__, _without_addresses(repr(value)))


def _without_addresses(text: str) -> str:
    return re.sub(r"\b0x[0-9a-f]+", "0x", text)


def form_of_error(error: GraphQLError) -> Any:
    return {
        "message": _without_addresses(error.message),
        "path": error.path,
        "locations": error.locations and [location.formatted for location in error.locations],
        "original": type(error.original_error).__name__,
        "extensions": error.extensions,
    }


def observe(execute: Callable[[], Any], loop: asyncio.AbstractEventLoop | None) -> Outcome:
    """Runs one execution, inside the loop when there is one. Without one, what has to be awaited is dropped."""
    journal, unhandled = Journal(), []
    token = JOURNAL.set(journal)
    _look_at_this_execution_alone()
    caught: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # A recorded warning would keep its coroutine alive, and with it the ones that coroutine holds.
        warnings.showwarning = lambda message, *_args, **_kwargs: caught.append(str(message))
        try:
            if loop is None:
                result = execute()
                if inspect.isawaitable(result):
                    assert inspect.iscoroutine(result)
                    result.close()
                    result = None
            else:
                loop.set_exception_handler(lambda _loop, context: unhandled.append(context["message"]))
                result = loop.run_until_complete(_settled(execute))
        finally:
            JOURNAL.reset(token)
        unstarted = journal.forgotten()
        del journal.coroutines
        data = form(result.data) if isinstance(result, ExecutionResult) else repr(result)
        errors = [form_of_error(error) for error in getattr(result, "errors", None) or ()]
        del result
        gc.collect()
    return Outcome(data, errors, journal.events, unstarted, len(caught), unhandled)


_EXECUTIONS = count(1)
_COLLECTED_EVERY = 500


def _look_at_this_execution_alone() -> None:
    """Has the next collection, which finds the awaitables that nobody has awaited, pass over all that is there now.

    What is passed over is never freed, so it is looked through from time to time.
    """
    if next(_EXECUTIONS) % _COLLECTED_EVERY == 0:
        look_at_everything()
    gc.freeze()


def look_at_everything() -> None:
    gc.unfreeze()
    gc.collect()


async def _settled(execute: Callable[[], Any]) -> Any:
    """The result, when also what goes on in the background has come to an end."""
    result = execute()
    if inspect.isawaitable(result):
        result = await result
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    await asyncio.sleep(0)
    return result
