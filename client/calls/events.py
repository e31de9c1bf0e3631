"""Streams of events: the calls that open them."""

from dataclasses import replace
from typing import Any, Final

from client.calls.call import Call, as_nothing, get, path

#: The stream of all tasks: a final status of one of them does not end it.
ALL_EVENTS: Final = "/events"


def task_events(task_id: str) -> Call[None]:
    """What happens to one task, from how it is now until it is final."""
    return _stream(path("tasks", task_id, "events"))


def all_events(*, queue: str | None = None, type: str | None = None) -> Call[None]:
    """What happens to all tasks, from now on."""
    return _stream(ALL_EVENTS, queue=queue, type=type)


def _stream(where: str, **query: Any) -> Call[None]:
    asked = get(where, as_nothing, **query)
    return replace(asked, headers={"Accept": "text/event-stream", "Cache-Control": "no-store"})
