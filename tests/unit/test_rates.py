"""Token buckets, on a clock that stands still unless it is moved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_service import rates
from api_service.rates import Buckets


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(clock: Clock) -> Buckets:
    return Buckets(clock)


def test_what_a_minute_allows_may_come_at_once_and_no_more(buckets: Buckets) -> None:
    waits = [buckets.spend("a", 3) for _ in range(4)]

    assert waits == [0, 0, 0, pytest.approx(20)]


def test_the_wait_that_is_told_is_enough(buckets: Buckets, clock: Clock) -> None:
    for _ in range(3):
        buckets.spend("a", 3)
    wait_s = buckets.spend("a", 3)

    clock.now_s += wait_s - 0.1
    assert buckets.spend("a", 3) > 0
    clock.now_s += 0.2
    assert buckets.spend("a", 3) == 0


def test_who_is_refused_is_not_held_back_longer_for_asking(buckets: Buckets, clock: Clock) -> None:
    waits = [buckets.spend("a", 1) for _ in range(50)]

    assert waits[1] == waits[-1] == pytest.approx(60)


def test_each_caller_has_a_bucket(buckets: Buckets) -> None:
    assert buckets.spend("a", 1) == 0
    assert buckets.spend("b", 1) == 0
    assert buckets.spend("a", 1) > 0


def test_a_bucket_never_holds_more_than_a_minute_allows(buckets: Buckets, clock: Clock) -> None:
    buckets.spend("a", 2)
    clock.now_s += 86400

    assert [buckets.spend("a", 2) == 0 for _ in range(3)] == [True, True, False]


def test_less_than_one_a_minute_is_still_one_now_and_then(buckets: Buckets, clock: Clock) -> None:
    assert buckets.spend("a", 0.5) == 0
    assert buckets.spend("a", 0.5) == pytest.approx(120)
    clock.now_s += 120.1
    assert buckets.spend("a", 0.5) == 0


@given(pauses=st.lists(st.floats(0, 30), max_size=60), per_minute=st.floats(0.1, 100))
def test_over_any_time_no_more_gets_through_than_a_full_bucket_and_the_rate(
    pauses: list[float], per_minute: float
) -> None:
    clock = Clock()
    buckets = Buckets(clock)
    through = 0
    for pause_s in pauses:
        clock.now_s += pause_s
        through += buckets.spend("a", per_minute) == 0

    assert through <= max(1, per_minute) + sum(pauses) * per_minute / 60 + 1e-6


def test_many_callers_do_not_fill_the_memory(buckets: Buckets, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MAX_BUCKETS", 100)
    buckets.spend("thirsty", 1)
    for number in range(1000):
        clock.now_s += 0.1
        buckets.spend(f"caller-{number}", 60)

    assert len(buckets) <= 101


def test_who_has_spent_all_is_remembered_when_others_are_forgotten(
    buckets: Buckets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "_MAX_BUCKETS", 10)
    for number in range(9):
        buckets.spend(f"caller-{number}", 600)
    clock.now_s += 1
    buckets.spend("thirsty", 1)
    buckets.spend("one-too-many", 600)

    assert buckets.spend("thirsty", 1) > 0
    assert len(buckets) == 2
