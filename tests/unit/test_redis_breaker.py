"""Whose turn it is to try a Redis that was away."""

import pytest

from shared.errors import CacheUnavailableError
from shared.redis_client import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def refuses(breaker: Breaker) -> bool:
    try:
        breaker.require_turn()
    except CacheUnavailableError:
        return True
    return False


def test_all_may_call_while_nothing_has_failed(breaker: Breaker) -> None:
    assert not refuses(breaker)
    assert not refuses(breaker)


def test_nobody_may_call_just_after_a_failure(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError("refused"))
    clock.now += 0.4

    with pytest.raises(CacheUnavailableError, match="refused"):
        breaker.require_turn()


def test_one_may_try_after_a_pause(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError())
    clock.now += 0.6

    assert [refuses(breaker) for _ in range(3)] == [False, True, True]


def test_another_may_try_when_the_first_one_never_came_back(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError())
    clock.now += 0.6
    breaker.require_turn()
    clock.now += 1.1

    assert [refuses(breaker) for _ in range(2)] == [False, True]


def test_who_tries_again_is_told(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.require_turn()
    breaker.failed(OSError())
    clock.now += 0.6

    assert breaker.require_turn()


def test_all_may_call_after_a_success(breaker: Breaker) -> None:
    breaker.failed(OSError())
    breaker.succeeded()

    assert not refuses(breaker)
    assert not refuses(breaker)
