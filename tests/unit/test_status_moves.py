"""The table of moves: what it allows, and what it must never allow."""

import pytest

from shared.domain.status import FINAL, MOVES, WAITING, Move, TaskStatus, is_final

S = TaskStatus


def pairs(move: Move) -> set[tuple[TaskStatus, TaskStatus]]:
    return {(source, target) for source in move.sources for target in move.targets}


def test_every_status_is_waiting_running_or_final() -> None:
    assert frozenset({S.RUNNING}) | WAITING | FINAL == frozenset(S)
    assert not WAITING & FINAL


def test_statuses_are_stored_and_sent_under_these_names() -> None:
    assert {status.value for status in S} == {
        "scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired",
    }  # fmt: skip


def test_success_is_for_ever() -> None:
    assert all(S.SUCCEEDED not in move.sources for move in MOVES.values())


def test_only_a_person_brings_a_final_task_back() -> None:
    assert {name for name, move in MOVES.items() if move.sources & FINAL} == {"renew"}


def test_only_a_claim_makes_a_task_run() -> None:
    assert {name for name, move in MOVES.items() if S.RUNNING in move.targets} == {"claim"}


def test_only_a_running_attempt_can_succeed() -> None:
    into_success = {name for name, move in MOVES.items() if S.SUCCEEDED in move.targets}

    assert into_success == {"finish"}
    assert MOVES["finish"].sources == {S.RUNNING}


def test_a_rescue_never_sends_a_task_to_waiting_for_a_time() -> None:
    assert MOVES["rescue"].targets == {S.QUEUED, S.FAILED, S.CANCELLED}


def test_no_move_stays_where_it_is() -> None:
    assert not [name for name, move in MOVES.items() for source, target in pairs(move) if source is target]


def test_every_status_can_be_left_but_success() -> None:
    assert frozenset(S) - {S.SUCCEEDED} == frozenset().union(*(move.sources for move in MOVES.values()))


def test_every_status_but_scheduled_can_be_reached_by_a_move() -> None:
    assert frozenset(S) - {S.SCHEDULED} == frozenset().union(*(move.targets for move in MOVES.values()))


@pytest.mark.parametrize("status", S)
def test_final_is_asked_with_the_stored_word_too(status: TaskStatus) -> None:
    assert is_final(status.value) == (status in FINAL)
