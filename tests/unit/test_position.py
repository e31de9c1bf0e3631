"""What an event's id says."""

import pytest

from shared.events.position import Position

LARGEST = 2**64 - 1


@pytest.mark.parametrize("event_id", ["0-0-0", "1719900000000-0-17", f"{LARGEST}-{LARGEST}-999999999"])
def test_an_id_is_written_as_it_was_read(event_id: str) -> None:
    assert str(Position.parse(event_id)) == event_id


def test_later_events_have_greater_places() -> None:
    places = [Position(9, 5, 7), Position(10, 0, 0), Position(10, 0, 9), Position(10, 0, 10), Position(10, 1, 0)]

    assert sorted(places) == places


@pytest.mark.parametrize(
    "event_id, before", [("10-3-5", "10-2"), ("10-1-0", "10-0"), ("10-0-5", f"9-{LARGEST}"), ("0-0-0", "0-0")]
)
def test_reading_starts_just_before_the_batch(event_id: str, before: str) -> None:
    assert Position.parse(event_id).before_batch == before


def test_a_number_that_redis_could_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not the id of an event"):
        Position.parse(f"{LARGEST + 1}-0-0")
