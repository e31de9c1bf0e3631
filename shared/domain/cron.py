"""When a schedule ticks: each tick after a given moment. Pure but for the time-zone database that it reads.

A cron expression names wall-clock times of its time zone, and local time changes are handled as Debian's cron does
(manual page cron(8), "Local time changes of less than three hours …"):

- A time that is skipped in spring ticks once, at the moment of the shift.
- A time that comes twice in autumn ticks once, the first time.
- What runs in every hour of the day is counted in real hours: 23 of them, or 25.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from shared.errors import RhythmError

_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_EVERY_HOUR: Final = frozenset(range(24))
_FIELDS: Final = 5

#: Any moment will do to learn whether a cron expression ever matches: cronsim looks 50 years ahead.
_SOME_DAY: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - wall-clock time

# The zones of right/ count leap seconds, which nothing else here does; localtime is another one on each machine.
_ZONE: Final = re.compile(r"(?!right/|posix/|localtime$|posixrules$)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")


class Rhythm(Protocol):
    """The ticks of a schedule."""

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment` (aware), in UTC; None if there is none in the next 50 years."""


class Every:
    """A fixed grid: `seconds` apart, counted from the full second of `anchor`, however late each run may be."""

    def __init__(self, seconds: float, anchor: datetime) -> None:
        self._step_us = round(seconds * 1_000_000)
        self._anchor = anchor.astimezone(UTC).replace(microsecond=0)

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment`. The first of all is one step after the anchor."""
        steps = (moment - self._anchor) // _MICROSECOND // self._step_us + 1
        return self._anchor + timedelta(microseconds=max(steps, 1) * self._step_us)


class Cron:
    """The times that a cron expression names in a time zone.

    Args:
        expression: Minute, hour, day of month, month, day of week. Lists, ranges, steps, names, and `L`, `LW`, `5L`
            and `1#2` for last days and the like. Where both days are restricted, either may match.
        timezone: A name of the IANA database.

    Raises:
        RhythmError: One of them can't be read, or the expression names a time that never comes.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self._zone = zone_of(timezone)
        self._fields = _fields_of(expression)
        self._runs_each_hour = CronSim(" ".join(self._fields), _SOME_DAY).hours == _EVERY_HOUR

    @property
    def expression(self) -> str:
        """The expression with one blank between fields."""
        return " ".join(self._fields)

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment`, in UTC."""
        ticks = self._by_real_hours if self._runs_each_hour else self._by_wall_clock
        return next((tick for tick in ticks(moment.astimezone(self._zone)) if tick > moment), None)

    def _by_real_hours(self, local: datetime) -> Iterator[datetime]:
        moment, offset = local.astimezone(UTC), _offset_at(local, self._zone)
        walls = CronSim(self.expression, local.replace(tzinfo=None))
        while (wall := next(walls, None)) is not None:
            tick = wall.replace(tzinfo=UTC) - offset
            if _offset_at(tick, self._zone) == offset:
                yield tick
            else:  # clocks shift before: look again from there, by the new offset
                moment = _shift_between(moment, tick, self._zone)
                offset = _offset_at(moment, self._zone)
                walls = CronSim(self.expression, (moment + offset - _SECOND).replace(tzinfo=None))

    def _by_wall_clock(self, local: datetime) -> Iterator[datetime]:
        # In the hour that comes again this begins too early, with ticks that have been: the caller leaves them out.
        for wall in CronSim(self.expression, local.replace(tzinfo=None)):
            yield _first_moment_at(wall, self._zone)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        RhythmError: There is none.
    """
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RhythmError("timezone", "is no time zone that is known here, like UTC or Europe/Berlin") from error
    raise RhythmError("timezone", "must be a name of the IANA database, like UTC or Europe/Berlin")


def ticks_after(rhythm: Rhythm, moment: datetime, limit: int) -> list[datetime]:
    """The first `limit` ticks later than `moment`."""
    return list(islice(_ticks(rhythm, moment), limit))


def last_tick(rhythm: Rhythm, first: datetime, now: datetime) -> datetime:
    """The last tick that is not later than `now`, given that `first` is one of those.

    Halves what lies between again and again: after a year of silence there is no time to go through each minute.
    """
    found, beyond = first, now
    while (following := rhythm.after(found)) is not None and following <= now:
        middle = following + (beyond - following) / 2
        later = rhythm.after(middle)
        if later is not None and later <= now:
            found = later
        else:
            found, beyond = following, middle
    return found


def _ticks(rhythm: Rhythm, moment: datetime) -> Iterator[datetime]:
    tick = rhythm.after(moment)
    while tick is not None:
        yield tick
        tick = rhythm.after(tick)


def _fields_of(expression: str) -> list[str]:
    fields = expression.split()
    if len(fields) != _FIELDS:
        raise RhythmError("cron", "must have five fields: minute, hour, day of month, month, day of week")
    try:
        if next(CronSim(" ".join(fields), _SOME_DAY), None) is not None:
            return fields
    except CronSimError as error:
        if not _names_a_missing_day(fields):
            raise RhythmError("cron", f"has a {str(error).removeprefix('Bad ')} field that can't be read") from error
    raise RhythmError("cron", "names a day that never comes")


def _names_a_missing_day(fields: list[str]) -> bool:
    """Whether the fault is that none of the months has such a day."""
    minute, hour, day, month, weekday = fields
    try:
        CronSim(" ".join((minute, hour, "1", month, weekday)), _SOME_DAY)
        CronSim(" ".join((minute, hour, day, "*", weekday)), _SOME_DAY)
    except CronSimError:
        return False
    return True


def _first_moment_at(wall: datetime, zone: ZoneInfo) -> datetime:
    """When clocks in the zone first show `wall`, in UTC; if they leap over it, when they do so."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # By the offset after the leap it lies before it, by the offset before the leap it lies after.
    return _shift_between(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment, zone)


def _shift_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first full second, between two moments of different offsets, that has no longer the offset of `before`."""
    offset = _offset_at(before, zone)
    before = before.replace(microsecond=0)
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if _offset_at(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset_at(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
