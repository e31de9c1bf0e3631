"""When schedules tick: cron expressions in time zones with their shifts, and fixed grids."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cron import Cron, Every, Rhythm, last_tick, ticks_after, zone_of
from shared.errors import RhythmError

BERLIN, NEW_YORK, KOLKATA, LORD_HOWE = "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=zone_of(zone))  # type: ignore[arg-type, misc]


def shown(rhythm: Rhythm, zone: str, since: datetime, limit: int) -> list[str]:
    """The ticks as a clock in the zone shows them, with its offset."""
    return [tick.astimezone(zone_of(zone)).strftime("%d %H:%M%z") for tick in ticks_after(rhythm, since, limit)]


# Local time that is skipped, and local time that comes twice ..........................


def test_a_time_that_is_skipped_in_spring_ticks_once_at_the_shift() -> None:
    ticks = shown(Cron("30 2 * * *", BERLIN), BERLIN, local(BERLIN, 2026, 3, 28), 3)

    assert ticks == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_several_skipped_times_tick_once_together() -> None:
    ticks = shown(Cron("*/15 2,3 * * *", NEW_YORK), NEW_YORK, local(NEW_YORK, 2026, 3, 8), 3)

    assert ticks == ["08 03:00-0400", "08 03:15-0400", "08 03:30-0400"]


def test_a_time_that_comes_twice_in_autumn_ticks_once() -> None:
    ticks = shown(Cron("30 2 * * *", BERLIN), BERLIN, local(BERLIN, 2026, 10, 24), 3)

    assert ticks == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]


def test_a_moment_in_the_hour_that_comes_again_leads_to_the_next_day() -> None:
    again = local(NEW_YORK, 2026, 11, 1, 1, 10).replace(fold=1)

    assert shown(Cron("30 1 * * *", NEW_YORK), NEW_YORK, again, 1) == ["02 01:30-0500"]


@pytest.mark.parametrize("expression", ["0 * * * *", "0 0-23 * * *"])
def test_what_runs_each_hour_counts_real_hours(expression: str) -> None:
    def on(day: datetime) -> list[str]:
        ticks = ticks_after(Cron(expression, BERLIN), day - timedelta(seconds=1), 26)
        return [tick.isoformat() for tick in ticks if tick.astimezone(zone_of(BERLIN)).date() == day.date()]

    assert len(on(local(BERLIN, 2026, 3, 28))) == 24
    assert len(on(local(BERLIN, 2026, 3, 29))) == 23
    assert len(on(local(BERLIN, 2026, 10, 25))) == 25


def test_shifts_of_half_an_hour_are_no_different() -> None:
    hourly = shown(Cron("15 * * * *", LORD_HOWE), LORD_HOWE, local(LORD_HOWE, 2026, 4, 5, 0, 30), 3)
    daily = shown(Cron("15 2 * * *", LORD_HOWE), LORD_HOWE, local(LORD_HOWE, 2026, 10, 4), 1)

    assert hourly == ["05 01:15+1100", "05 02:15+1030", "05 03:15+1030"]
    assert daily == ["04 02:30+1100"]


def test_a_zone_without_shifts_has_its_offset() -> None:
    assert ticks_after(Cron("0 6 * * *", KOLKATA), datetime(2026, 3, 29, tzinfo=UTC), 2) == [
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]


# Expressions ..........................................................................


@pytest.mark.parametrize(
    "expression,ticks",
    [
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27"]),
        ("0 0 * * MON#2", ["2026-01-12", "2026-02-09"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27"]),
        ("0 0 1-7/3 mar,OCT *", ["2026-03-01", "2026-03-04"]),
        ("0 0 13 * FRI", ["2026-01-02", "2026-01-09"]),  # either day, as cron has it
        ("0 0 * * 7", ["2026-01-04", "2026-01-11"]),
    ],
)
def test_an_expression_names_these_days(expression: str, ticks: list[str]) -> None:
    found = ticks_after(Cron(expression, "UTC"), datetime(2026, 1, 1, tzinfo=UTC), len(ticks))

    assert [tick.strftime("%Y-%m-%d") for tick in found] == ticks


@pytest.mark.parametrize(
    "expression,fault",
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("@hourly", "five fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 32 * *", "day-of-month"),
        ("* * 30 13 *", "month"),
        ("* * * * MOO", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 */31 2 MON#5", "never comes"),
        ("٣ * * * *", "minute"),
    ],
)
def test_what_is_no_expression_or_never_comes_is_refused(expression: str, fault: str) -> None:
    with pytest.raises(RhythmError, match=fault) as refused:
        Cron(expression, "UTC")
    assert refused.value.field == "cron"


@given(st.text(st.sampled_from("0159*,-/#LWMONjan \x00٣é"), max_size=20))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        cron = Cron(text, "UTC")
    except RhythmError:
        return
    assert cron.after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "right/UTC", "UTC\x00", "a" * 99],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(RhythmError) as refused:
        zone_of(name)
    assert refused.value.field == "timezone"


@given(st.text(max_size=30))
def test_any_text_is_a_zone_or_refused(text: str) -> None:
    try:
        zone = zone_of(text)
    except RhythmError:
        return
    assert zone.key == text


# Grids ................................................................................


def test_a_grid_does_not_drift_however_late_it_is_asked() -> None:
    every = Every(90, datetime(2026, 1, 1, 12, 0, 0, 700_000, tzinfo=UTC))

    assert every.after(datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 12, 1, 30, tzinfo=UTC)
    assert every.after(datetime(2026, 1, 1, 12, 4, 20, tzinfo=UTC)) == datetime(2026, 1, 1, 12, 4, 30, tzinfo=UTC)
    assert every.after(datetime(2026, 1, 1, 12, 4, 30, tzinfo=UTC)) == datetime(2026, 1, 1, 12, 6, tzinfo=UTC)


def test_the_first_tick_of_a_grid_comes_one_step_after_its_anchor() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)

    assert Every(60, anchor).after(anchor - timedelta(days=1)) == anchor + timedelta(seconds=60)


# What holds for all ...................................................................

MINUTES = st.sampled_from(["*", "0", "30", "*/15", "5,35", "0-10"])
HOURS = st.sampled_from(["*", "0", "2", "1-3", "*/2", "*/6", "0-23", "23"])
DAYS = st.sampled_from(["* * *", "29 3 *", "L * *", "* * SUN", "25 10 *", "1 * *"])
ZONES = st.sampled_from([BERLIN, NEW_YORK, KOLKATA, LORD_HOWE, "America/Havana", "Africa/Cairo", "UTC"])
# Around the shifts of 2026.
MOMENTS = st.builds(
    lambda month, seconds: datetime(2026, month, 1, tzinfo=UTC) + timedelta(seconds=seconds),
    st.sampled_from([3, 4, 10]),
    st.floats(0, 33 * 86400),
)


def make_cron(parts: tuple[str, str, str], zone: str) -> Cron:
    return Cron(" ".join(parts), zone)


CRONS = st.builds(make_cron, st.tuples(MINUTES, HOURS, DAYS), ZONES)
GRIDS = st.builds(Every, st.floats(1, 1e6), st.just(datetime(2026, 1, 1, tzinfo=UTC)))


@given(st.one_of(CRONS, GRIDS), MOMENTS)
def test_ticks_follow_each_other_and_none_is_left_out_from_whichever_moment(rhythm: Rhythm, moment: datetime) -> None:
    ticks = ticks_after(rhythm, moment, 12)

    assert all(earlier < later for earlier, later in pairwise(ticks))
    for earlier, later in pairwise(ticks):
        between = earlier + (later - earlier) / 2
        assert rhythm.after(between) == later
        assert rhythm.after(later - timedelta(microseconds=1)) == later


SHIFTS = st.sampled_from(
    [
        (BERLIN, datetime(2026, 3, 29, 1, tzinfo=UTC)),
        (BERLIN, datetime(2026, 10, 25, 1, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 3, 8, 7, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 11, 1, 6, tzinfo=UTC)),
        (LORD_HOWE, datetime(2026, 4, 4, 15, tzinfo=UTC)),
        (LORD_HOWE, datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),  # the hour after midnight comes twice
        ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),  # there is no midnight
        (KOLKATA, datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ]
)


def minute_by_minute(parts: tuple[str, str, str], zone: str, begin: datetime, minutes: int) -> list[datetime]:
    """The ticks as somebody finds them who watches a clock in the zone, with the rules in hand."""
    named, each_hour = Cron(" ".join(parts), "UTC"), parts[1] in ("*", "0-23")
    ticks, shown_before = [], set()
    last = begin.astimezone(zone_of(zone)).replace(tzinfo=UTC) - timedelta(minutes=1)
    for moment in (begin + timedelta(minutes=minute) for minute in range(minutes)):
        wall = moment.astimezone(zone_of(zone)).replace(tzinfo=UTC)
        leapt_over = (
            []
            if each_hour or wall < last
            else [last + timedelta(minutes=n) for n in range(1, (wall - last).seconds // 60)]
        )
        walls = [w for w in (*leapt_over, wall) if each_hour or w not in shown_before]
        if any(named.after(w - timedelta(seconds=1)) == w for w in walls):
            ticks.append(moment)
        shown_before.update(walls)
        last = wall if each_hour else max(last, wall)
    return ticks


@given(SHIFTS, st.tuples(MINUTES, HOURS, DAYS))
def test_ticks_around_a_shift_are_those_of_somebody_who_watches_the_clock(
    shift: tuple[str, datetime], parts: tuple[str, str, str]
) -> None:
    zone, at = shift
    begin, end = at - timedelta(hours=3), at + timedelta(hours=4)

    cron = make_cron(parts, zone)
    ticks = [tick for tick in ticks_after(cron, begin - timedelta(seconds=1), 450) if tick < end]

    assert ticks == minute_by_minute(parts, zone, begin, 7 * 60)


@given(st.one_of(CRONS, GRIDS), MOMENTS, st.floats(0, 40 * 86400))
def test_the_last_tick_is_followed_by_none_that_is_due(rhythm: Rhythm, moment: datetime, later_s: float) -> None:
    first = rhythm.after(moment)
    assert first is not None
    now = first + timedelta(seconds=later_s)

    last = last_tick(rhythm, first, now)

    assert first <= last <= now
    assert last == first or rhythm.after(last - timedelta(microseconds=1)) == last
    following = rhythm.after(last)
    assert following is not None
    assert following > now


def test_the_last_tick_after_years_of_silence_takes_few_looks() -> None:
    looks = 0

    class Counted:
        def after(self, moment: datetime) -> datetime | None:
            nonlocal looks
            looks += 1
            return Cron("* * * * *", "UTC").after(moment)

    now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    last = last_tick(Counted(), datetime(2016, 1, 1, tzinfo=UTC), now)

    assert last == datetime(2026, 1, 1, tzinfo=UTC)
    assert looks < 100
