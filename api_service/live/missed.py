"""What clients have missed: the event stream read again, once for all who ask at the same time."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from shared.batching import Batcher
from shared.errors import CacheUnavailableError
from shared.events.base import Event, Events
from shared.events.position import Position

log = structlog.get_logger(__name__)

#: Events of one task that are sent again. With more, only the newest.
_MOST: Final = 2_000
#: After an API restart a thousand clients may ask at once.
_ASKED_TOGETHER: Final = 10_000


@dataclass(slots=True)
class Missed:
    """The events of a task after a place.

    Attributes:
        events: In the order of the stream.
        is_whole: Whether nothing may be missing.
    """

    events: deque[Event] = field(default_factory=deque)
    is_whole: bool = False

    def add(self, event: Event) -> None:
        """Take an event; the oldest goes where there are too many."""
        self.events.append(event)
        if len(self.events) > _MOST:
            self.events.popleft()
            self.is_whole = False


class MissedEvents:
    """Finds what clients have missed. A restart of the API costs one reading of the stream, not one per client."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._batcher: Batcher[tuple[Position, UUID], Missed] = Batcher(self._read, max_items=_ASKED_TOGETHER)

    async def after(self, place: Position, task_id: UUID) -> Missed:
        """The events of a task after a place. Nothing, and that is not the whole, while Redis is away."""
        try:
            return await self._batcher.submit((place, task_id))
        except CacheUnavailableError as error:
            log.info("missed_events_unknown", reason=str(error))
            return Missed()

    async def _read(self, asked: Sequence[tuple[Position, UUID]]) -> list[Missed]:
        answers = [Missed() for _ in asked]
        by_task: dict[UUID, list[tuple[Position, Missed]]] = {}
        by_batch: dict[str, list[Missed]] = {}
        for (place, task_id), missed in zip(asked, answers, strict=True):
            by_task.setdefault(task_id, []).append((place, missed))
            by_batch.setdefault(place.batch_id, []).append(missed)
        async for events in self._events.replay(str(min(place for place, _ in asked))):
            for event in events:
                # An asked batch that is still there: nothing after it has fallen off the end.
                for missed in by_batch.pop(event.id.rpartition("-")[0], ()):
                    missed.is_whole = True
                if askers := by_task.get(event.task_id):
                    _give(askers, event)
        return answers


def _give(askers: Sequence[tuple[Position, Missed]], event: Event) -> None:
    position = Position.parse(event.id)
    for place, missed in askers:
        if position > place:
            missed.add(event)
