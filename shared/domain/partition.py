"""Where the table of tasks is cut: partitions of whole days, by the time in the ids of their tasks.

The first partition reaches back without a beginning and the last one ahead without an end, so that there is a
partition for every id, however far off the clock was that made it. Between them lie the days, without a gap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

#: How far ahead of now the last partition begins at least: for so long nobody has to cut it.
AHEAD: Final = timedelta(days=3)
#: Days of retention from which on tasks are forgotten by whole partitions.
WHOLE_FROM_DAYS: Final = 1.0
#: After so long a partition that could not be forgotten as a whole is cleared task by task.
PATIENCE: Final = timedelta(days=1)

# Each statement on unknown ids looks into every partition, so there is a bound to how many there are.
_IN_RETENTION: Final = 8
_MAX_WIDTH_DAYS: Final = 366
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Partition:
    """A table that holds the tasks whose ids were made from `begin` to, not including, `end`; None: no bound."""

    name: str
    begin: datetime | None
    end: datetime | None


def width(retention_days: float) -> timedelta:
    """How much time a new partition holds: a day, or so many that about eight of them are kept."""
    return timedelta(days=min(max(1, math.ceil(retention_days / _IN_RETENTION)), _MAX_WIDTH_DAYS))


def next_cut(begin: datetime, *, now: datetime, width: timedelta) -> datetime | None:
    """Where to cut the last partition, which begins at `begin`; None while that is far enough ahead.

    Whatever was missed, because no worker ran for a while, becomes one partition: it holds tasks already.
    """
    if begin - now >= AHEAD:
        return None
    return max(begin, now.replace(hour=0, minute=0, second=0, microsecond=0)) + width


def days_ago(now: datetime, days: float) -> datetime:
    """So many days before `now`, but not before there was any clock."""
    return now - timedelta(days=min(days, (now - _EPOCH) / timedelta(days=1)))


def cleared_singly_before(partitions: Sequence[Partition], *, old: datetime, days: float) -> datetime:
    """Tasks made before this are forgotten one by one, once they are old: all others go with their partition.

    Args:
        partitions: All of them, in order.
        old: What was made before this may be old enough.
        days: For how long final tasks are kept.
    """
    if days < WHOLE_FROM_DAYS:
        return old
    ends = [
        each.end for each in partitions if each.end is not None and (each.begin is None or each.end <= old - PATIENCE)
    ]
    return min([old, *ends[-1:]])
