"""The ticks of schedules: which are due, and what was done about them.

PostgreSQL's clock alone says what is due, so that the clocks of the hosts don't matter.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.domain.schedule import PlannedRun, RunOutcome, Schedule, ScheduleRun, Settlement
from shared.domain.status import FINAL
from shared.domain.task import Accepted, NewTask
from shared.domain.task_type import TaskTypeInfo
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.schedules import COLUMNS, lock_schedule, now_of, schedule_from
from shared.store.statement import sql_list, text
from shared.store.submissions import Born, accept_with
from shared.store.task_types import types_named


@dataclass(frozen=True, slots=True)
class Held:
    """Schedules that this transaction holds: nobody else runs or changes them meanwhile.

    Attributes:
        now: PostgreSQL's time.
        schedules: The one that was due first comes first.
        types: Those of their types that were announced, by name.
        open_tasks: The last task of each schedule where it is not final, by the schedule's name.
    """

    now: datetime
    schedules: list[Schedule]
    types: dict[str, TaskTypeInfo]
    open_tasks: dict[str, UUID]
    _connection: Connection

    async def settle(self, settlements: Sequence[Settlement]) -> Born:
        """Write down runs, store their tasks and move the schedules on; all of it holds once the block commits.

        A tick that was dealt with before, by a clock that has been set back since, is left out with its task.
        """
        fresh = await self._write_runs(settlements)
        runs = [
            (each.schedule, run) for each in settlements for run in each.runs if (each.schedule, run.tick) in fresh
        ]
        tasks = [(name, run.task) for name, run in runs if run.task is not None]
        born = await accept_with(self._connection, [task for _, task in tasks])
        await self._move_on(settlements, {name: task.id for name, task in tasks})
        return born

    async def run_now(self, schedule: Schedule, task: NewTask) -> Born:
        """Store a task beside the ticks of a schedule; nothing is done where its key stands for a task already."""
        born = await accept_with(self._connection, [task])
        [answer] = born.answers
        if isinstance(answer, Accepted) and not answer.duplicate:
            tick = self.now
            while not await self._write_runs([_manual(schedule, tick, task)]):
                tick += timedelta(microseconds=1)  # another run has this very moment
            await self._move_on([_manual(schedule, tick, task)], {schedule.name: task.id})
        return born

    async def _write_runs(self, settlements: Sequence[Settlement]) -> set[tuple[str, datetime]]:
        runs = [(each.schedule, run) for each in settlements for run in each.runs]
        rows = await self._connection.execute(
            _WRITE_RUNS,
            {
                "schedules": [schedule for schedule, _ in runs],
                "ticks": [run.tick for _, run in runs],
                "outcomes": [run.outcome.value for _, run in runs],
                "reasons": [run.reason for _, run in runs],
                "tasks": [None if run.task is None else run.task.id for _, run in runs],
            },
        )
        return {(row.schedule, row.tick) for row in rows}

    async def _move_on(self, settlements: Sequence[Settlement], last_tasks: Mapping[str, UUID]) -> None:
        await self._connection.execute(
            _MOVE_ON,
            {
                "names": [each.schedule for each in settlements],
                "nexts": [each.next_run_at for each in settlements],
                "tasks": [last_tasks.get(each.schedule) for each in settlements],
            },
        )


def _manual(schedule: Schedule, tick: datetime, task: NewTask) -> Settlement:
    return Settlement(schedule.name, [PlannedRun(tick, RunOutcome.MANUAL, task)], schedule.next_run_at)


class ScheduleRuns:
    """The table `schedule_runs`, and the turns of `schedules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def are_due(self, *, built_in: bool) -> bool:
        """Whether `take_due` would find some, unless somebody else holds them: a look that costs little."""
        async with self._database.read() as connection:
            return bool(await connection.scalar(_ARE_DUE, {"built_in": built_in}))

    @asynccontextmanager
    async def take_due(self, limit: int, *, built_in: bool) -> AsyncIterator[Held]:
        """At most `limit` schedules with a tick to deal with that nobody else holds, until the block ends.

        Args:
            limit: How many at most.
            built_in: Whether built-in ones are among them.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute(_TAKE_DUE, {"limit": limit, "built_in": built_in})
            yield await _held(connection, [schedule_from(row) for row in rows])

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[Held]:
        """One schedule, whether it is due or not, until the block ends.

        Raises:
            ScheduleNotFoundError: No such schedule.
        """
        async with self._database.transaction() as connection:
            yield await _held(connection, [await lock_schedule(connection, name)])

    async def forget(self, *, older_than_days: float, keep: int, limit: int) -> int:
        """Delete at most `limit` runs that are so old, but of each schedule none of the last `keep`."""
        async with self._database.read() as connection:
            parameters = {"days": older_than_days, "keep": keep, "limit": limit}
            return await connection.change(_FORGET_RUNS, parameters)

    async def last_runs(self, names: Sequence[str], *, limit: int) -> dict[str, list[ScheduleRun]]:
        """At most `limit` runs of each of the schedules, the latest first."""
        runs: dict[str, list[ScheduleRun]] = {name: [] for name in names}
        async with self._database.read() as connection:
            for row in await connection.execute(_LAST_RUNS, {"names": list(names), "limit": limit}):
                runs[row.schedule].append(ScheduleRun(*row))
        return runs

    async def overdue(self, *, by_s: float) -> int:
        """How many schedules, built-in ones left out, have a tick so long ago that nobody has dealt with."""
        async with self._database.read() as connection:
            return int(await connection.scalar(_OVERDUE, {"by_s": by_s}) or 0)


async def _held(connection: Connection, schedules: list[Schedule]) -> Held:
    if not schedules:
        return Held(await now_of(connection), [], {}, {}, connection)
    types = await types_named(connection, [schedule.type for schedule in schedules])
    rows = await connection.execute(_OPEN_TASKS, {"names": [schedule.name for schedule in schedules]})
    open_tasks = {row.name: row.last_task_id for row in rows}
    return Held(await now_of(connection), schedules, types, open_tasks, connection)


_IS_DUE: Final = "NOT paused AND next_run_at IS NOT NULL AND next_run_at <= now() AND (:built_in OR NOT built_in)"

_ARE_DUE: Final = text(f"SELECT EXISTS (SELECT FROM schedules WHERE {_IS_DUE})")

_TAKE_DUE: Final = text(f"""
    SELECT {COLUMNS} FROM schedules WHERE {_IS_DUE}
    ORDER BY next_run_at LIMIT :limit FOR UPDATE SKIP LOCKED""")

_OPEN_TASKS: Final = text(f"""
    SELECT s.name, s.last_task_id FROM schedules s JOIN tasks t ON t.id = s.last_task_id
    WHERE s.name = ANY(CAST(:names AS text[])) AND t.status NOT IN ({sql_list(FINAL)})""")

# The key alone decides: whatever clocks did, no tick is dealt with twice.
_WRITE_RUNS: Final = text("""
    INSERT INTO schedule_runs (schedule, tick, outcome, reason, task_id, ran_at)
    SELECT r.schedule, r.tick, r.outcome, r.reason, r.task_id, now()
    FROM unnest(CAST(:schedules AS text[]), CAST(:ticks AS timestamptz[]), CAST(:outcomes AS text[]),
                CAST(:reasons AS text[]), CAST(:tasks AS uuid[])) AS r(schedule, tick, outcome, reason, task_id)
    ON CONFLICT (schedule, tick) DO NOTHING
    RETURNING schedule, tick""")

_MOVE_ON: Final = text("""
    UPDATE schedules s
    SET next_run_at = m.next_run_at, last_task_id = coalesce(m.task_id, s.last_task_id)
    FROM unnest(CAST(:names AS text[]), CAST(:nexts AS timestamptz[]), CAST(:tasks AS uuid[]))
        AS m(name, next_run_at, task_id)
    WHERE s.name = m.name""")

_LAST_RUNS: Final = text("""
    SELECT r.schedule, r.tick, r.outcome, r.reason, r.task_id, r.ran_at, t.status
    FROM unnest(CAST(:names AS text[])) AS n(name)
    CROSS JOIN LATERAL (
        SELECT * FROM schedule_runs WHERE schedule = n.name ORDER BY tick DESC LIMIT :limit) r
    LEFT JOIN tasks t ON t.id = r.task_id
    ORDER BY r.schedule, r.tick DESC""")

_OVERDUE: Final = text("""
    SELECT count(*) FROM schedules
    WHERE NOT paused AND NOT built_in AND next_run_at < now() - make_interval(secs => :by_s)""")

_FORGET_RUNS: Final = text("""
    DELETE FROM schedule_runs WHERE ctid = ANY(ARRAY(
        SELECT r.ctid FROM schedules s
        CROSS JOIN LATERAL (
            SELECT k.tick FROM schedule_runs k WHERE k.schedule = s.name ORDER BY k.tick DESC
            OFFSET CAST(:keep AS int) - 1 LIMIT 1) kept
        JOIN schedule_runs r ON r.schedule = s.name AND r.tick < kept.tick
        WHERE r.ran_at < now() - make_interval(secs => CAST(:days AS float8) * 86400)
        LIMIT :limit))""")
