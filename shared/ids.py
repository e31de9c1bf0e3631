"""Identifiers of tasks: UUIDv7, so that ids sort by the time they were made."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_task_id() -> UUID:
    """A fresh id; ids made later by this process sort later.

    Source: RFC 9562, section 5.7.
    """
    return uuid7()


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that may have been made at `moment` (aware), to bound a scan of the primary key."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return UUID(int=(milliseconds & (1 << 48) - 1) << 80)
