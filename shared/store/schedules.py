"""Schedules as people make and change them. Their ticks are in `shared.store.schedule_runs`."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Final

from shared.domain.schedule import CatchUp, Schedule, ScheduleDefinition, rhythm_of
from shared.errors import ScheduleExistsError, ScheduleNotFoundError
from shared.store.connection import Connection, Row
from shared.store.database import Database
from shared.store.statement import text


class Schedules:
    """The table `schedules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading ........................................................................

    async def get(self, name: str) -> Schedule:
        """One schedule.

        Raises:
            ScheduleNotFoundError: No such schedule.
        """
        async with self._database.read() as connection:
            row = await connection.one_or_none(_GET, {"name": name})
        if row is None:
            raise ScheduleNotFoundError(name)
        return schedule_from(row)

    async def page(self, *, limit: int, after: str = "") -> list[Schedule]:
        """At most `limit` schedules by name, beginning after the name `after`."""
        async with self._database.read() as connection:
            rows = await connection.execute(_PAGE, {"limit": limit, "after": after})
            return [schedule_from(row) for row in rows]

    # Changing .......................................................................

    async def create(self, definition: ScheduleDefinition) -> Schedule:
        """Add a schedule.

        Raises:
            ScheduleExistsError: There is one of this name.
        """
        async with self._database.transaction() as connection:
            created = await _insert(connection, definition)
        if created is None:
            raise ScheduleExistsError(definition.name)
        return created

    async def put(self, definition: ScheduleDefinition) -> tuple[Schedule, bool]:
        """Add a schedule or replace the one of its name. Returns it, and whether it is new.

        One that is replaced stays paused if it was. It keeps its next tick unless the new rhythm has others.
        """
        async with self._database.transaction() as connection:
            while (known := await _locked(connection, definition.name)) is None:
                if (created := await _insert(connection, definition)) is not None:
                    return created, True
            next_run_at = known.next_run_at
            if next_run_at is None or _rhythm_fields(definition) != _rhythm_fields(known):
                next_run_at = rhythm_of(definition, known.created_at).after(await now_of(connection))
            row = await connection.one(_REPLACE, {**asdict(definition), "next_run_at": next_run_at})
            return schedule_from(row), False

    async def provide(self, definitions: Sequence[ScheduleDefinition]) -> None:
        """Add built-in schedules where there are none of their names; what a person made of them stays."""
        async with self._database.transaction() as connection:
            for definition in sorted(definitions, key=lambda one: one.name):  # one order of locks
                await _insert(connection, definition, built_in=True)

    async def delete(self, name: str) -> None:
        """Remove a schedule and what is known of its runs; its tasks go on.

        Raises:
            ScheduleNotFoundError: No such schedule.
        """
        async with self._database.transaction() as connection:
            found = await connection.change(text("DELETE FROM schedules WHERE name = :name"), {"name": name})
            if not found:
                raise ScheduleNotFoundError(name)
            # After it, not with it: whoever held the schedule until now may have written runs.
            await connection.execute(text("DELETE FROM schedule_runs WHERE schedule = :name"), {"name": name})

    async def pause(self, name: str) -> Schedule:
        """Let a schedule rest; its ticks pass.

        Raises:
            ScheduleNotFoundError: No such schedule.
        """
        async with self._database.transaction() as connection:
            known = await lock_schedule(connection, name)
            return known if known.paused else await _set_paused(connection, known, known.next_run_at, paused=True)

    async def resume(self, name: str) -> Schedule:
        """Let a schedule run again. Ticks that passed meanwhile are made up for as `catch_up` says.

        Raises:
            ScheduleNotFoundError: No such schedule.
        """
        async with self._database.transaction() as connection:
            known = await lock_schedule(connection, name)
            if not known.paused:
                return known
            next_run_at = known.next_run_at
            if known.catch_up == CatchUp.SKIP:
                next_run_at = known.rhythm().after(await now_of(connection))
            return await _set_paused(connection, known, next_run_at, paused=False)


async def _insert(
    connection: Connection, definition: ScheduleDefinition, *, built_in: bool = False
) -> Schedule | None:
    now = await now_of(connection)
    next_run_at = rhythm_of(definition, now).after(now)
    values = {**asdict(definition), "built_in": built_in, "next_run_at": next_run_at}
    row = await connection.one_or_none(_INSERT, values)
    return None if row is None else schedule_from(row)


async def lock_schedule(connection: Connection, name: str) -> Schedule:
    """One schedule, which nobody else runs or changes until the transaction ends.

    Raises:
        ScheduleNotFoundError: No such schedule.
    """
    schedule = await _locked(connection, name)
    if schedule is None:
        raise ScheduleNotFoundError(name)
    return schedule


async def _locked(connection: Connection, name: str) -> Schedule | None:
    row = await connection.one_or_none(_LOCK, {"name": name})
    return None if row is None else schedule_from(row)


async def _set_paused(
    connection: Connection, known: Schedule, next_run_at: datetime | None, *, paused: bool
) -> Schedule:
    values = {"name": known.name, "paused": paused, "next_run_at": next_run_at}
    return schedule_from(await connection.one(_SET_PAUSED, values))


async def now_of(connection: Connection) -> datetime:
    """PostgreSQL's time: when the transaction began."""
    now: datetime = await connection.scalar(text("SELECT now()"))
    return now


def schedule_from(row: Row) -> Schedule:
    """The record of a row that selected `COLUMNS`."""
    return Schedule(**dict(row))


def _rhythm_fields(definition: ScheduleDefinition) -> tuple[object, ...]:
    return definition.cron, definition.every_s, definition.timezone


#: The columns of `schedules`.
COLUMNS: Final = ", ".join(field.name for field in fields(Schedule))
_GIVEN: Final = [field.name for field in fields(ScheduleDefinition)]

_GET: Final = text(f"SELECT {COLUMNS} FROM schedules WHERE name = :name")

_LOCK: Final = text(f"SELECT {COLUMNS} FROM schedules WHERE name = :name FOR UPDATE")

_PAGE: Final = text(f"SELECT {COLUMNS} FROM schedules WHERE name > :after ORDER BY name LIMIT :limit")

_INSERT: Final = text(f"""
    INSERT INTO schedules ({", ".join(_GIVEN)}, paused, built_in, created_at, updated_at, next_run_at, version)
    VALUES ({", ".join(f":{name}" for name in _GIVEN)}, false, :built_in, now(), now(), :next_run_at, 1)
    ON CONFLICT (name) DO NOTHING
    RETURNING {COLUMNS}""")

_REPLACE: Final = text(f"""
    UPDATE schedules SET {", ".join(f"{name} = :{name}" for name in _GIVEN if name != "name")},
        updated_at = now(), next_run_at = :next_run_at, version = version + 1
    WHERE name = :name
    RETURNING {COLUMNS}""")

_SET_PAUSED: Final = text(f"""
    UPDATE schedules SET paused = :paused, updated_at = now(), next_run_at = :next_run_at, version = version + 1
    WHERE name = :name AND paused <> :paused
    RETURNING {COLUMNS}""")
