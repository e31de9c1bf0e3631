"""What becomes of a request that came to nothing: decided without a network, a clock or a pause."""

from random import Random
from typing import Any

import httpx
import pytest

from client import calls
from client.calls import Call
from client.errors import (
    ConflictError,
    RateLimitedError,
    ServerError,
    TaskmillError,
    UnavailableError,
    UnreachableError,
)
from client.retrying import Patience, Pause, Retrying, persist

RETRYING = Retrying(repeats=3, first_s=1.0, longest_s=3.0, random=Random(1))
REQUEST = httpx.Request("POST", "http://taskmill/tasks")
ACCEPTED = {"task_id": "1", "status": "queued", "type": "t", "queue": "q", "created_at": "2030-01-01T00:00:00Z"}


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()}, request=REQUEST
    )


def play(call: Call[Any], *replies: httpx.Response | Exception) -> tuple[Any, list[float], int]:
    """What a call comes to if it is answered so in turn; the pauses between; how often it was sent."""
    steps = persist(call, RETRYING)
    left = list(replies)
    pauses: list[float] = []
    sent = 0
    step = next(steps)
    try:
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = next(steps)
                continue
            assert step is call
            sent += 1
            reply = left.pop(0)
            step = steps.throw(reply) if isinstance(reply, Exception) else steps.send(reply)
    except StopIteration as end:
        return end.value, pauses, sent
    except TaskmillError as error:
        return error, pauses, sent


def cut() -> httpx.ReadError:
    return httpx.ReadError("cut", request=REQUEST)


def refused() -> httpx.ConnectError:
    return httpx.ConnectError("refused", request=REQUEST)


@pytest.mark.parametrize(
    "first", [answer(429), answer(503), cut(), refused(), httpx.ReadTimeout("", request=REQUEST)]
)
def test_a_submission_is_sent_again_until_it_is_accepted(first: httpx.Response | Exception) -> None:
    accepted, pauses, sent = play(calls.submit("t"), first, first, answer(202, ACCEPTED))

    assert accepted.task_id == "1"
    assert sent == 3
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_all_tries_of_a_submission_carry_one_key() -> None:
    call = calls.submit("t")

    assert call.headers["Idempotency-Key"]
    assert call.headers["Idempotency-Key"] != calls.submit("t").headers["Idempotency-Key"]


def test_the_pause_that_the_server_asks_for_is_kept() -> None:
    _, pauses, _ = play(calls.submit("t"), answer(503, retry_after="7"), answer(202, ACCEPTED))

    assert 7 <= pauses[0] <= 8


def test_a_server_that_asks_for_minutes_is_left_alone() -> None:
    error, _, sent = play(calls.submit("t"), answer(429, retry_after="600"))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 600
    assert sent == 1


def test_patience_has_an_end() -> None:
    error, pauses, sent = play(calls.queues(), *[answer(503)] * 4)

    assert isinstance(error, UnavailableError)
    assert (len(pauses), sent) == (3, 4)


@pytest.mark.parametrize("reply", [answer(503), cut()])
def test_what_a_repeat_could_do_twice_is_sent_once(reply: httpx.Response | Exception) -> None:
    error, _, sent = play(calls.retry("1"), reply)

    assert isinstance(error, UnavailableError)
    assert sent == 1


def test_a_lost_answer_to_such_a_request_says_that_it_may_have_been_done() -> None:
    error, _, _ = play(calls.cancel("1"), cut())

    assert "may have been done" in str(error)


@pytest.mark.parametrize("reply", [answer(429), refused()])
def test_what_was_surely_not_done_is_repeated_whatever_it_is(reply: httpx.Response | Exception) -> None:
    error, _, sent = play(calls.cancel("1"), reply, answer(409, {"code": "illegal_move", "detail": "it is final"}))

    assert isinstance(error, ConflictError)
    assert str(error) == "it is final"
    assert sent == 2


def test_a_bug_of_the_server_is_not_asked_for_twice() -> None:
    error, _, sent = play(calls.queues(), answer(500, x_request_id="abc"))

    assert isinstance(error, ServerError)
    assert error.request_id == "abc"
    assert sent == 1


def test_an_answer_of_something_else_is_no_result() -> None:
    error, _, _ = play(calls.queues(), answer(200, {"hello": "world"}))

    assert isinstance(error, ServerError)
    assert "not answered as Taskmill would" in str(error)


def test_a_redirect_is_no_result() -> None:
    error, _, sent = play(calls.queues(), answer(307, location="http://elsewhere"))

    assert isinstance(error, ServerError)
    assert sent == 1


def test_whoever_is_not_there_is_named() -> None:
    error, _, _ = play(calls.queues(), *[refused()] * 4)

    assert isinstance(error, UnreachableError)
    assert str(error) == "nothing answers at http://taskmill: refused"


def test_pauses_grow_up_to_their_limit() -> None:
    pauses = [Retrying(repeats=50, longest_s=10, random=Random(2)).pause_s(repeat) or 0 for repeat in range(1, 50)]

    assert max(pauses) <= 10
    assert min(pauses[10:]) >= 5


def test_a_success_renews_patience() -> None:
    patience = Patience(RETRYING)
    for _ in range(10):
        assert patience.pause_s(UnavailableError("away"))
        patience.renew()


def test_a_repeat_of_our_own_is_no_duplicate() -> None:
    answered = answer(200, {**ACCEPTED, "duplicate": True})

    ours, theirs, unique = (
        play(call, answered)[0]
        for call in (calls.submit("t"), calls.submit("t", idempotency_key="k"), calls.submit("t", unique=True))
    )

    assert not ours.duplicate
    assert theirs.duplicate
    assert unique.duplicate
