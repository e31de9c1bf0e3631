"""Places in the event stream: what an event's id says."""

import re
from typing import Final, NamedTuple, Self

_PATTERN: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,9})")
_LARGEST: Final = 2**64 - 1
#: No event has this place in its batch, and all of the batch are before it.
LAST_OFFSET: Final = 999_999_999


class Position(NamedTuple):
    """The place of one event; later events have greater ones.

    Attributes:
        time_ms: When the event's batch, or the stream, was made.
        number: Tells batches of that time apart.
        offset: The event's place in its batch.
    """

    time_ms: int
    number: int
    offset: int

    @classmethod
    def parse(cls, event_id: str) -> Self:
        """The place that an event's id names.

        Raises:
            ValueError: Not an id of ours.
        """
        match = _PATTERN.fullmatch(event_id)
        position = cls(*map(int, match.groups())) if match else None
        if position is None or max(position) > _LARGEST:
            raise ValueError(f"not the id of an event: {event_id[:80]!r}")
        return position

    def __str__(self) -> str:
        return f"{self.time_ms}-{self.number}-{self.offset}"

    @property
    def batch_id(self) -> str:
        """The id of the event's batch, as Redis writes them."""
        return f"{self.time_ms}-{self.number}"

    @property
    def before_batch(self) -> str:
        """The greatest id of a batch that is smaller than `batch_id`."""
        if self.number:
            return f"{self.time_ms}-{self.number - 1}"
        return f"{self.time_ms - 1}-{_LARGEST}" if self.time_ms else "0-0"

    @property
    def next_batch(self) -> str:
        """The smallest id of a batch that is greater than `batch_id`."""
        return f"{self.time_ms}-{self.number + 1}" if self.number < _LARGEST else f"{self.time_ms + 1}-0"
