"""What clients may write about a schedule: any JSON is a schedule or refused with a place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accepting.scheduling import NewSchedule, read_new_schedule, read_replacement
from shared.domain.schedule import ScheduleDefinition
from shared.errors import InvalidInputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
LIKELY = {
    "name": st.text(st.sampled_from("abc._-A/\n"), max_size=5),
    "cron": st.text(st.sampled_from("0123 *,-/L#"), max_size=12),
    "every": st.floats(-1, 1e9),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Mars", ""]),
    "catch_up": st.sampled_from(["skip", "one", "all", "none"]),
}
BODIES = st.fixed_dictionaries(
    {}, optional={name: LIKELY.get(name, JSON) | JSON for name in (*NewSchedule.model_fields, "paused")}
)


@given(JSON | BODIES)
def test_any_json_is_a_schedule_or_refused_with_a_place(body: Any) -> None:
    definition, places = None, []
    try:
        definition = read_new_schedule(body)
    except InvalidInputError as error:
        places = [place for place, _ in error.faults]

    assert (definition is None) is bool(places)
    assert all(place == "" or place.startswith("/") for place in places)
    assert definition is None or (definition.cron is None) is not (definition.every_s is None)


def test_every_field_is_taken_over() -> None:
    body = {"name": "s", "every": 1.5, "timezone": "Asia/Kolkata", "type": "t", "payload": [1], "queue": "q",
            "catch_up": "all", "overlap": "skip"}  # fmt: skip

    assert read_new_schedule(body) == ScheduleDefinition(
        name="s", every_s=1.5, timezone="Asia/Kolkata", type="t", payload="[1]", queue="q", catch_up="all",
        overlap="skip",
    )  # fmt: skip


def test_a_replacement_takes_its_name_from_the_path() -> None:
    body = {"cron": "0 0 * * *", "type": "t"}

    assert read_replacement(body, "s") == read_replacement({**body, "name": "s"}, "s")
    for name, path in (("other", "s"), ("s", "S")):
        with pytest.raises(InvalidInputError) as refused:
            read_replacement({**body, "name": name}, path)
        assert [place for place, _ in refused.value.faults] == ["/name"]
