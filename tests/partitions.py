"""The partitions of `tasks`, laid out as a test wants them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Final
from uuid import UUID

from shared.domain.partition import Partition
from shared.ids import first_id_at
from shared.store.connection import Connection
from shared.store.partitions import STORAGE, attach, detach
from shared.store.store import Store

DAY: Final = timedelta(days=1)
_DROP_ALL: Final = """
    DO $$ DECLARE partition regclass; BEGIN
        FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'tasks'::regclass LOOP
            EXECUTE 'DROP TABLE ' || partition;
        END LOOP;
    END $$"""

#: Counts the locks of this database that keep everybody from the tasks. As `l`, had or waited for.
LOCKS_ON_ALL: Final = """
    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.relation = 'tasks'::regclass AND l.mode = 'AccessExclusiveLock'"""


def today() -> datetime:
    """The beginning of this day."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def made_at(moment: datetime) -> UUID:
    """An id as an API would make it then."""
    return UUID(int=first_id_at(moment).int | 7 << 76 | Random().getrandbits(74))


async def lay_out(store: Store, *cuts: datetime) -> None:
    """Partitions between those moments, the first behind it all and the last one ahead. All tasks are gone."""
    ids = [f"'{first_id_at(cut)}'" for cut in cuts]
    names = ["tasks_leftover", *(f"tasks_{cut:%Y%m%d}" for cut in cuts)]
    bounds = zip(names, ["MINVALUE", *ids], [*ids, "MAXVALUE"], strict=True)
    async with store.database.transaction() as connection:
        await connection.control(_DROP_ALL)
        for name, first, end in bounds:
            await _create(connection, name, first, end)


async def _create(connection: Connection, name: str, first: str, end: str) -> None:
    span = f"FROM ({first}) TO ({end})"
    await connection.control(f"CREATE TABLE {name} PARTITION OF tasks FOR VALUES {span} WITH ({STORAGE})")


async def daily(store: Store, first: int, last: int) -> None:
    """A partition for each day from so many days from today to, not including, so many: `daily(store, -9, 4)`."""
    await lay_out(store, *(today() + days * DAY for days in range(first, last + 1)))


async def reach_back(store: Store, days: int) -> None:
    """A partition for each of so many days before those that there are. The first partition must be empty."""
    leftover, oldest, *_ = await store.partitions.all()
    assert oldest.begin is not None
    begins = [oldest.begin - n * DAY for n in range(days, 0, -1)]
    async with store.database.transaction() as connection:
        await connection.control(detach(leftover))
        await connection.control(attach(replace(leftover, end=begins[0])))
        for begin in begins:
            bounds = (f"'{first_id_at(moment)}'" for moment in (begin, begin + DAY))
            await _create(connection, f"tasks_{begin:%Y%m%d}", *bounds)


def is_whole(partitions: Sequence[Partition]) -> bool:
    """Whether there is a partition for every id, and one only."""
    return (
        partitions[0].begin is None
        and partitions[-1].end is None
        and all(one.end == next_.begin for one, next_ in pairwise(partitions))
    )
