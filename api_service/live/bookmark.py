"""How far a client has heard: the id of each message, and what it hands back as `Last-Event-ID`."""

import re
from dataclasses import dataclass
from typing import Final, Self

from shared.events.position import Position

_PATTERN: Final = re.compile(r"([0-9-]{1,64})(?:\.([0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in the event stream and a version of the task: everything up to both of them has been told.

    The version tells which moves a client knows even where the stream has lost events, or has them out of order.

    Attributes:
        place: The place in the event stream.
        version: The task's version; 0 in streams of all tasks.
    """

    place: Position
    version: int = 0

    @classmethod
    def find(cls, text: str) -> Self | None:
        """The bookmark that a client has handed back, or None if it is none of ours."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            return None
        try:
            return cls(Position.parse(match[1]), int(match[2] or 0))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.place}.{self.version}" if self.version else str(self.place)
