"""Server-sent events: read as they come, and taken up again where they broke off."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from client import calls
from client.calls import Call
from client.errors import TaskmillError, UnavailableError
from client.models import Event
from client.retrying import Patience, Retrying

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
#: Seconds of silence after which a stream counts as cut; the server sends a sign of life more often.
SILENCE_S: Final = 60.0


class EventReader:
    """Makes events of the bytes of one answer (the WHATWG's "event stream" of HTML)."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self._rest = b""
        self._kind = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with these bytes."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            if line:
                self._take(line)
            elif self._data or self._kind:
                yield self._event()

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self._kind = value.decode("utf-8", "replace")
            case b"data":
                self._data.append(value)
            case b"id" if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")

    def _event(self) -> Event:
        event = Event(kind=self._kind or "message", data=_value(b"\n".join(self._data)), id=self.last_id or None)
        self._kind, self._data = "", []
        return event


class Watch:
    """What is known of a stream over all its connections: where it was, and whether to go on.

    Attributes:
        is_over: There is nothing more to expect.
        pause_s: Seconds to wait before the next connection.
    """

    def __init__(self, call: Call[None], retrying: Retrying) -> None:
        self.is_over = False
        self.pause_s = 0.0
        self._call = call
        self._patience = Patience(retrying)
        self._last_id: str | None = None
        self._is_final = False
        self._reader = EventReader()

    def next_call(self) -> Call[None]:
        """What to send for the next connection."""
        self._reader = EventReader()
        if self._last_id is None:
            return self._call
        return replace(self._call, headers={**self._call.headers, "Last-Event-ID": self._last_id})

    def take(self, chunk: bytes) -> Iterator[Event]:
        """The events in some bytes of the answer."""
        for event in self._reader.feed(chunk):
            self._patience.renew()
            self._last_id = event.id or self._last_id
            if event.kind in ("snapshot", "status"):
                self._is_final = event.is_final
            yield event
        # An id may come alone: where to resume without anything to tell.
        self._last_id = self._reader.last_id or self._last_id

    def closed(self, why: TaskmillError | None = None, *, is_all_told: bool = False) -> None:
        """The stream has ended: for good after a final status, else because the server restarts or the way is cut.

        Args:
            why: What it broke off with, if it did.
            is_all_told: Whether the server has said that there is nothing to come.

        Raises:
            TaskmillError: Not worth another try.
        """
        self.is_over = is_all_told or (self._is_final and self._call.path != calls.ALL_EVENTS)
        if self.is_over:
            self.pause_s = 0.0
        else:
            cut = UnavailableError("the stream of events ends again and again", code="no_answer")
            self.pause_s = self._patience.pause_s(why or cut)


def _value(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
