"""Where the table of tasks is cut."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.partition import AHEAD, Partition, cleared_singly_before, days_ago, next_cut, width
from shared.ids import first_id_at, moment_of, new_task_id

DAY = timedelta(days=1)
MIDNIGHT = datetime(2030, 5, 17, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=15, minutes=7)
MOMENTS = st.floats(0, 200_000 * 86400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize(
    "retention_days, days", [(1e-9, 1), (7, 1), (8, 1), (8.5, 2), (90, 12), (366, 46), (31e6, 366)]
)
def test_a_partition_holds_a_day_or_an_eighth_of_what_is_kept(retention_days: float, days: int) -> None:
    assert width(retention_days) == days * DAY


def test_a_last_partition_that_is_days_ahead_is_left_alone() -> None:
    assert next_cut(NOW + AHEAD, now=NOW, width=DAY) is None


def test_one_that_comes_near_is_cut_a_width_behind_its_begin() -> None:
    assert next_cut(MIDNIGHT + 2 * DAY, now=NOW, width=DAY) == MIDNIGHT + 3 * DAY
    assert next_cut(MIDNIGHT + 2 * DAY, now=NOW, width=12 * DAY) == MIDNIGHT + 14 * DAY


def test_what_was_missed_becomes_one_partition() -> None:
    assert next_cut(MIDNIGHT - 20 * DAY, now=NOW, width=DAY) == MIDNIGHT + DAY


@given(begin=MOMENTS, now=MOMENTS, days=st.integers(1, 366))
def test_a_few_cuts_bring_the_last_partition_far_enough_ahead(begin: datetime, now: datetime, days: int) -> None:
    cuts = [begin]
    while (cut := next_cut(cuts[-1], now=now, width=days * DAY)) is not None:
        assert cut > cuts[-1]
        cuts.append(cut)

    assert len(cuts) <= 6
    assert cuts[-1] - now >= AHEAD
    assert cuts[-1] == begin or cuts[-1] - now < AHEAD + days * DAY


def test_an_id_tells_when_it_was_made() -> None:
    assert moment_of(first_id_at(NOW)) == NOW
    assert abs(moment_of(new_task_id()) - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(OverflowError):
        moment_of(UUID(int=2**128 - 1))


def test_nothing_is_older_than_clocks_are() -> None:
    assert days_ago(NOW, 2.5) == NOW - timedelta(days=2.5)
    assert days_ago(NOW, 1e9) == datetime(1970, 1, 1, tzinfo=UTC)


# The days from the 8th to the 19th, in the order of time.
DAYS = [
    Partition("leftover", None, MIDNIGHT - 9 * DAY),
    *(Partition("day", MIDNIGHT + n * DAY, MIDNIGHT + (n + 1) * DAY) for n in range(-9, 3)),
    Partition("ahead", MIDNIGHT + 3 * DAY, None),
]


def test_a_partition_is_given_a_day_to_go_as_a_whole() -> None:
    old = NOW - 6 * DAY  # the end of the 10th is past for less than a day, that of the 9th for more

    assert cleared_singly_before(DAYS, old=old, days=6) == MIDNIGHT - 7 * DAY


def test_what_is_left_over_goes_one_by_one() -> None:
    assert cleared_singly_before(DAYS, old=NOW - 30 * DAY, days=30) == NOW - 30 * DAY
    assert cleared_singly_before(DAYS, old=NOW - 9 * DAY, days=9) == MIDNIGHT - 9 * DAY


def test_what_is_kept_for_less_than_a_day_goes_one_by_one() -> None:
    assert cleared_singly_before(DAYS, old=NOW, days=0.5) == NOW
