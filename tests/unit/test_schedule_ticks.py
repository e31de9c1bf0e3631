"""What is done about the ticks of a schedule that are due: catch-up, overlap, and what no longer fits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.accepting.catalogue import KnownType, compile_type
from shared.accepting.scheduling import settle
from shared.domain.cron import Every
from shared.domain.schedule import GRACE, MAX_MADE_UP, Due, PlannedRun, Schedule, due
from tests.api import SUM

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN: KnownType = compile_type(SUM)


def at(seconds: float) -> datetime:
    return ANCHOR + timedelta(seconds=seconds)


def due_after(silence_s: float, catch_up: str, *, every_s: float = 60) -> Due:
    """The first tick is at 60 s; somebody looks `silence_s` later."""
    return due(Every(every_s, ANCHOR), first=at(60), now=at(60 + silence_s), catch_up=catch_up)


def a_schedule(**fields: Any) -> Schedule:
    ordinary: dict[str, Any] = {
        "name": "s", "every_s": 60.0, "type": "demo.sum", "payload": '{"n":1}', "paused": False, "built_in": False,
        "created_at": ANCHOR, "updated_at": ANCHOR, "next_run_at": at(60), "last_task_id": None, "version": 1,
    }  # fmt: skip
    return Schedule(**{**ordinary, **fields})


def runs_of(schedule: Schedule, silence_s: float = 1, known: KnownType | None = KNOWN, **kw: Any) -> list[PlannedRun]:
    settlement = settle(schedule, now=at(60 + silence_s), known=known, **{"open_task": None, **kw})
    return list(settlement.runs)


# Catching up ..........................................................................


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_a_tick_in_time_is_run_whatever_the_policy(catch_up: str) -> None:
    assert due_after(0, catch_up) == Due([at(60)], None, at(120))
    assert due_after(1, catch_up) == Due([at(60)], None, at(120))


def test_skip_runs_the_last_tick_if_it_is_recent_and_notes_what_it_missed() -> None:
    assert due_after(605, "skip") == Due([at(660)], at(60), at(720))


def test_skip_runs_nothing_that_is_late() -> None:
    late_s = GRACE.total_seconds() + 1

    assert due_after(late_s, "skip") == Due([], at(60), at(120))
    assert due_after(600 + late_s, "skip") == Due([], at(60), at(720))


def test_skip_leaves_out_no_second_of_a_schedule_that_runs_each_second() -> None:
    assert due_after(1.2, "skip", every_s=1) == Due([at(60), at(61)], None, at(62))


def test_skip_does_not_make_up_for_a_pause_of_seconds() -> None:
    decided = due_after(10, "skip", every_s=1)

    assert decided == Due([at(69), at(70)], at(60), at(71))


def test_one_runs_once_for_all() -> None:
    assert due_after(86400, "one") == Due([at(60 + 86400)], None, at(120 + 86400))


def test_all_runs_each_the_oldest_first_and_some_at_a_time() -> None:
    assert due_after(150, "all") == Due([at(60), at(120), at(180)], None, at(240))

    decided = due_after(86400, "all")
    assert len(decided.ticks) == MAX_MADE_UP
    assert decided.ticks[0] == at(60)
    assert decided.following == decided.ticks[-1] + timedelta(seconds=60)


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_what_follows_is_later_than_what_was_run(catch_up: str) -> None:
    for silence_s in (0, 1, 59, 60, 61, 3600, 10**7):
        decided = due_after(silence_s, catch_up)
        assert decided.following is not None
        assert all(tick < decided.following for tick in decided.ticks)
        assert catch_up == "all" or decided.following > at(60 + silence_s)


# Runs .................................................................................


def test_a_run_has_the_task_that_a_client_would_get() -> None:
    [run] = runs_of(a_schedule(queue="special"))

    assert (run.outcome, run.tick, run.reason) == ("submitted", at(60), None)
    assert run.task is not None
    task = run.task
    assert (task.type, task.queue, task.payload) == ("demo.sum", "special", '{"n":1}')
    assert (task.max_attempts, task.timeout_s, task.soft_timeout_s) == (5, 60, 50)
    assert (task.tags, task.submitted_by) == (("schedule:s",), "schedule:s")


def test_a_type_that_nobody_knows_and_a_payload_that_does_not_fit_are_refused_with_the_reason() -> None:
    [unknown] = runs_of(a_schedule(), known=None)
    [unfit] = runs_of(a_schedule(payload='{"n":1000}'))

    assert (unknown.outcome, unfit.outcome) == ("refused", "refused")
    assert "demo.sum" in (unknown.reason or "")
    assert "/payload/n" in (unfit.reason or "")


def test_a_refused_schedule_goes_on() -> None:
    settlement = settle(a_schedule(), now=at(61), known=None, open_task=None)

    assert settlement.next_run_at == at(120)


def test_a_schedule_whose_zone_is_not_known_here_says_so_and_rests() -> None:
    lost = replace(a_schedule(), every_s=None, cron="0 0 * * *", timezone="Mars/Olympus")

    settlement = settle(lost, now=at(61), known=KNOWN, open_task=None)

    assert settlement.next_run_at is None
    assert [run.outcome for run in settlement.runs] == ["refused"]


def test_a_run_that_would_overlap_is_skipped() -> None:
    open_task = uuid4()

    [skipped] = runs_of(a_schedule(overlap="skip"), open_task=open_task)
    [allowed] = runs_of(a_schedule(overlap="allow"), open_task=open_task)

    assert (skipped.outcome, skipped.task) == ("skipped", None)
    assert str(open_task) in (skipped.reason or "")
    assert allowed.outcome == "submitted"


def test_of_several_missed_ticks_that_would_overlap_the_first_is_run() -> None:
    runs = runs_of(a_schedule(overlap="skip", catch_up="all"), silence_s=130)

    assert [run.outcome for run in runs] == ["submitted", "skipped", "skipped"]


def test_a_missed_tick_is_a_run_without_a_task() -> None:
    runs = runs_of(a_schedule(), silence_s=605)

    assert [(run.outcome, run.tick) for run in runs] == [("missed", at(60)), ("submitted", at(660))]
    assert "605 s" in (runs[0].reason or "")
