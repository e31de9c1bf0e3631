"""Telling the broker in few words which deliveries are settled, and never of one that is not."""

from hypothesis import given
from hypothesis import strategies as st

from shared.broker.settlements import Settlement, Settlements, Verdict


def settlements(*tags: int) -> Settlements:
    made = Settlements()
    for tag in tags:
        made.arrived(tag)
    return made


def test_acks_without_a_gap_are_one_word() -> None:
    found = settlements(1, 2, 3)
    for tag in (3, 1, 2):
        found.settle(tag, Verdict.ACK)

    assert found.take() == [Settlement(Verdict.ACK, 3, multiple=True)]


def test_a_single_ack_is_not_said_to_be_multiple() -> None:
    found = settlements(1, 2)
    found.settle(1, Verdict.ACK)

    assert found.take() == [Settlement(Verdict.ACK, 1)]


def test_acks_behind_a_delivery_in_hand_are_said_one_by_one() -> None:
    found = settlements(1, 2, 3, 4, 5)
    for tag in (1, 2, 4, 5):
        found.settle(tag, Verdict.ACK)

    assert found.take() == [
        Settlement(Verdict.ACK, 2, multiple=True),
        Settlement(Verdict.ACK, 4),
        Settlement(Verdict.ACK, 5),
    ]


def test_refusals_are_said_before_the_ack_that_would_cover_them() -> None:
    found = settlements(1, 2, 3)
    found.settle(1, Verdict.ACK)
    found.settle(3, Verdict.ACK)
    found.settle(2, Verdict.REJECT)

    assert found.take() == [Settlement(Verdict.REJECT, 2), Settlement(Verdict.ACK, 3, multiple=True)]


def test_a_second_verdict_does_not_count() -> None:
    found = settlements(1)

    assert found.settle(1, Verdict.REJECT)
    assert not found.settle(1, Verdict.ACK)
    assert not found.settle(2, Verdict.ACK)
    assert found.take() == [Settlement(Verdict.REJECT, 1)]


def test_what_was_taken_is_not_said_again() -> None:
    found = settlements(1, 2)
    found.settle(1, Verdict.ACK)
    found.take()
    found.settle(2, Verdict.ACK)

    assert found.take() == [Settlement(Verdict.ACK, 2)]
    assert found.take() == []


@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from([*Verdict, "take"]))))
def test_the_broker_hears_exactly_the_verdicts_that_were_given(steps: list[tuple[int, Verdict | str]]) -> None:
    made, given_, heard = settlements(*range(1, 13)), dict[int, Verdict](), dict[int, Verdict]()

    for tag, step in [*steps, (0, "take")]:
        if isinstance(step, Verdict):
            if made.settle(tag, step):
                given_[tag] = step
        else:
            _hear(made.take(), heard)

    assert heard == given_
    assert made.in_hand == 12 - len(given_)


def _hear(settled: list[Settlement], heard: dict[int, Verdict]) -> None:
    """Understand it as RabbitMQ does: a tag that has a verdict already is a fault, and closes the channel."""
    for settlement in settled:
        assert settlement.tag not in heard
        first = 1 if settlement.multiple else settlement.tag
        for tag in range(first, settlement.tag + 1):
            heard.setdefault(tag, settlement.verdict)
