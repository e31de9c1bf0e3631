"""What clients are sent: an event, encoded once for all who watch."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

from fastapi.sse import format_sse_event

from shared import jsontext
from shared.domain.status import is_final
from shared.domain.task import TaskRecord
from shared.events.base import Event
from shared.events.position import Position
from shared.events.telling import event_of

#: Kinds of events that belong to a version of their task.
_VERSIONED: Final = ("status", "progress")


class Content:
    """The name and the data of a message, in the forms in which they are sent.

    Args:
        name: What the message is: `snapshot`, `status`, `progress`, `log`.
        data: A JSON object.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data

    @cached_property
    def as_event(self) -> bytes:
        """A server-sent event without its id."""
        return format_sse_event(event=self.name, data_str=self.data.decode())


@dataclass(frozen=True, slots=True)
class Message:
    """A content with its id for one client.

    Attributes:
        content: None where there is nothing to say but how to resume.
        id: Empty where there is no place to resume after.
    """

    content: Content | None
    id: str

    def sse(self) -> bytes:
        """The message as a server-sent event."""
        said = b"\n" if self.content is None else self.content.as_event
        return b"id: %s\n%s" % (self.id.encode(), said) if self.id else said

    def frame(self) -> str:
        """The message as a JSON text."""
        assert self.content is not None
        quoted = f'"{self.id}"' if self.id else "null"
        return f'{{"event":"{self.content.name}","id":{quoted},"data":{self.content.data.decode()}}}'


#: Messages as they come, some at a time; an empty batch where there is nothing to say for a while.
Batches = AsyncGenerator[list[Message], None]


@dataclass(eq=False)
class Told:
    """An event on its way to those who watch.

    Attributes:
        event: The event.
        version: The version of the task that it belongs to; None for what changes nothing, as a log line.
        whole: The document that goes with a final status, once somebody has asked for it.
    """

    event: Event
    version: int | None = None
    whole: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        version = self.event.data.get("version")
        if self.event.kind in _VERSIONED and isinstance(version, int):
            self.version = version

    @classmethod
    def of(cls, task: TaskRecord) -> Self:
        """What is told of a task whose events were lost: how it stands now."""
        return cls(event_of(task))

    @cached_property
    def place(self) -> Position | None:
        """The event's place in the stream; None if it did not come from there."""
        return Position.parse(self.event.id) if self.event.id else None

    @property
    def is_final(self) -> bool:
        """Whether it tells of a final status."""
        return self.event.kind == "status" and is_final(str(self.event.data.get("status")))

    @cached_property
    def content(self) -> Content:
        """What is sent."""
        event = self.event
        return Content(event.kind, jsontext.encode({**_about(event), **event.data}))


def _about(event: Event) -> dict[str, str]:
    return {"task_id": str(event.task_id), "type": event.type, "queue": event.queue}
