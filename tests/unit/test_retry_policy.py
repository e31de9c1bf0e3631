"""How long a failed attempt waits for the next."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.retry import RetryPolicy


def test_without_jitter_the_wait_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(first_delay_s=2, max_delay_s=10, jitter=0)

    assert [policy.delay_s(attempt, Random(1)) for attempt in range(1, 6)] == [2, 4, 8, 10, 10]


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    policy, random = RetryPolicy(), Random(1)

    assert len({policy.delay_s(3, random) for _ in range(100)}) == 100


def test_a_policy_without_waiting_never_waits() -> None:
    assert RetryPolicy(first_delay_s=0).delay_s(7, Random(1)) == 0


@given(st.integers(1, 10**9), st.floats(0, 1), st.randoms(use_true_random=False))
def test_no_wait_is_negative_or_longer_than_the_cap(attempt: int, jitter: float, random: Random) -> None:
    policy = RetryPolicy(first_delay_s=2, max_delay_s=600, jitter=jitter)

    assert 0 <= policy.delay_s(attempt, random) <= 600


@given(st.integers(1, 30), st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_random_part_is_no_larger_than_its_share(attempt: int, jitter: float, random: Random) -> None:
    policy = RetryPolicy(first_delay_s=1, max_delay_s=1e12, jitter=jitter)

    assert policy.delay_s(attempt, random) >= 2.0 ** (attempt - 1) * (1 - jitter)
