"""Which doorbells travel together."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.bundling import bundled
from shared.domain.ring import Ring
from shared.ids import new_task_id

MEANS = {"short": 0.0001, "middling": 0.01, "long": 3.0}


def ring(type_: str | None, queue: str = "default", priority: str = "normal") -> Ring:
    return Ring(1, new_task_id(), 1, queue, priority, type_)


def sizes(rings: Sequence[Ring]) -> list[int]:
    return [len(bundle) for bundle in bundled(rings, MEANS.get)]


def test_tasks_that_nobody_has_measured_travel_alone() -> None:
    assert sizes([ring("new"), ring("new"), ring(None)]) == [1, 1, 1]


def test_long_tasks_travel_alone() -> None:
    assert sizes([ring("long")] * 3) == [1, 1, 1]


def test_a_message_brings_fifty_milliseconds_of_work() -> None:
    assert sizes([ring("middling")] * 12) == [5, 5, 2]


def test_a_hundred_are_the_most() -> None:
    assert sizes([ring("short")] * 250) == [100, 100, 50]


def test_queues_and_priorities_keep_apart() -> None:
    rings = [ring("short", "a"), ring("short", "b"), ring("short", "a"), ring("short", "a", "high")]

    assert bundled(rings, MEANS.get) == [[rings[0], rings[2]], [rings[1]], [rings[3]]]


@given(st.lists(st.tuples(st.sampled_from([*MEANS, "new", None]), st.sampled_from("ab")), max_size=300))
def test_every_doorbell_is_rung_once_and_no_message_brings_too_much(kinds: list[tuple[str | None, str]]) -> None:
    rings = [ring(type_, queue) for type_, queue in kinds]

    bundles = bundled(rings, MEANS.get)

    assert sorted(one for bundle in bundles for one in bundle) == sorted(rings)
    for bundle in bundles:
        assert len({(one.queue, one.priority) for one in bundle}) == 1
        work_s = sum(MEANS.get(one.type or "", 1.0) for one in bundle)
        assert len(bundle) == 1 or (work_s <= 0.0501 and len(bundle) <= 100)
