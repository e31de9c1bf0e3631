"""What follows the end of an attempt."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.outcome import Cancelled, Failed, Failure, Interrupted, Outcome, Report, Returned, decide
from shared.domain.retry import RetryPolicy
from shared.domain.status import FINISH, TaskStatus

BOOM = Failure("OSError", "connection reset")
POLICY = RetryPolicy(first_delay_s=10, jitter=0)


def decide_after(report: Report, *, used: int = 1, max_attempts: int = 2) -> Outcome:
    return decide(report, used=used, max_attempts=max_attempts, policy=POLICY, random=Random(1))


def test_what_returned_has_succeeded_with_its_result() -> None:
    assert decide_after(Returned('"done"')) == Outcome(TaskStatus.SUCCEEDED, result='"done"')


def test_the_last_attempt_may_succeed_like_any_other() -> None:
    assert decide_after(Returned("1"), used=2).status is TaskStatus.SUCCEEDED


def test_the_first_failure_waits_for_the_delay_of_the_policy() -> None:
    assert decide_after(Failed(BOOM)) == Outcome(TaskStatus.RETRYING, failure=BOOM, delay_s=10)


def test_the_second_failure_waits_longer() -> None:
    assert decide_after(Failed(BOOM), used=2, max_attempts=3).delay_s == 20


def test_the_last_failure_is_final_and_says_why() -> None:
    assert decide_after(Failed(BOOM), used=2) == Outcome(TaskStatus.FAILED, failure=BOOM)


def test_a_permanent_failure_is_final_at_once() -> None:
    assert decide_after(Failed(BOOM, permanent=True)) == Outcome(TaskStatus.FAILED, failure=BOOM)


def test_a_wait_that_the_handler_named_beats_the_policy() -> None:
    assert decide_after(Failed(BOOM, retry_after_s=3)).delay_s == 3


def test_a_wait_of_zero_is_a_wait_that_was_named() -> None:
    assert decide_after(Failed(BOOM, retry_after_s=0)).delay_s == 0


def test_a_handler_that_asks_for_another_try_gets_none_beyond_the_last() -> None:
    assert decide_after(Failed(BOOM, retry_after_s=3), used=2).status is TaskStatus.FAILED


def test_a_task_whose_limit_was_lowered_meanwhile_is_not_tried_again() -> None:
    assert decide_after(Failed(BOOM), used=5, max_attempts=2).status is TaskStatus.FAILED


def test_a_cancelled_attempt_is_no_failure() -> None:
    assert decide_after(Cancelled()) == Outcome(TaskStatus.CANCELLED)


def test_a_stopped_worker_gives_the_attempt_back_even_if_it_was_the_last() -> None:
    assert decide_after(Interrupted(), used=2) == Outcome(TaskStatus.QUEUED, returns_attempt=True)


@pytest.mark.parametrize("permanent", [False, True])
@given(used=st.integers(1, 50), max_attempts=st.integers(1, 50), after=st.none() | st.floats(0, 1e6))
def test_every_outcome_is_a_move_that_the_table_allows(
    permanent: bool, used: int, max_attempts: int, after: float | None
) -> None:
    reports: list[Report] = [Returned("1"), Failed(BOOM, permanent, after), Cancelled(), Interrupted()]
    for report in reports:
        outcome = decide_after(report, used=used, max_attempts=max_attempts)

        assert outcome.status in FINISH.targets
        assert outcome.delay_s == 0 or outcome.status is TaskStatus.RETRYING
        assert (outcome.result is not None) == (outcome.status is TaskStatus.SUCCEEDED)
