"""Identifiers of tasks: UUIDv7, so that ids sort by the time they were made."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

#: Ids carry the clock of the process that made them, `created_at` that of PostgreSQL: they may differ by this much.
CLOCK_SKEW: Final = timedelta(minutes=5)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_task_id() -> UUID:
    """A fresh id; ids made later by this process sort later.

    Source: RFC 9562, section 5.7.
    """
    return uuid7()


def age_s(task_id: UUID) -> float:
    """Seconds since an id was made, by the clock of its maker; an id that was not made here may say anything."""
    return time.time() - (task_id.int >> 80) / 1000


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that may have been made at `moment` (aware), to bound a scan of the primary key."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return UUID(int=(milliseconds & (1 << 48) - 1) << 80)


def moment_of(task_id: UUID) -> datetime:
    """When an id was made, by the clock of its maker.

    Raises:
        OverflowError: That is later than the year 9999; no clock says so, but any UUID may be asked for.
    """
    return _EPOCH + timedelta(milliseconds=task_id.int >> 80)
