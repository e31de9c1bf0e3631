"""A doorbell waiting in the outbox."""

from typing import NamedTuple
from uuid import UUID

from shared.domain.message import Due


class Ring(NamedTuple):
    """One row of the outbox: `outbox_id` is deleted once the broker has the message.

    `type` tells how long the task may take; None in rows of earlier versions.
    """

    outbox_id: int
    task_id: UUID
    attempt: int
    queue: str
    priority: str
    type: str | None

    @property
    def due(self) -> Due:
        """What the message says."""
        return Due(self.task_id, self.attempt)
