"""What a client may write around a payload."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.accepting.envelope import TaskSubmission, read_submission
from shared.accepting.moments import parse_moment
from shared.errors import InvalidInputError


def places(body: Any, at: str = "") -> list[str]:
    """Where the body is at fault."""
    with pytest.raises(InvalidInputError) as caught:
        read_submission(body, at)
    return [place for place, _ in caught.value.faults]


def accepted(**fields: Any) -> TaskSubmission:
    return read_submission({"type": "t", **fields})


def test_only_the_type_is_required() -> None:
    submission = read_submission({"type": "t"})

    assert submission.payload == {}
    assert submission.priority == "normal"
    assert places({}) == ["/type"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("type", ""),
        ("type", 1),
        ("type", "x" * 201),
        ("queue", ""),
        ("queue", "UPPER"),
        ("queue", "a b"),
        ("queue", "a" * 65),
        ("queue", "a\n"),
        ("queue", 1),
        ("priority", "urgent"),
        ("priority", 1),
        ("delay", "1"),
        ("delay", True),
        ("delay", -1),
        ("delay", 10**400),
        ("delay", 366 * 86400 * 10 + 1),
        ("delay", []),
        ("run_at", 1_700_000_000),
        ("run_at", "2030-01-01"),
        ("run_at", "2030-01-01T00:00:00"),
        ("run_at", "2030-13-01T00:00:00Z"),
        ("run_at", "1700000001"),
        ("run_at", "0001-01-01T00:00:00+23:59"),
        ("run_at", "9999-12-31T23:59:59-23:59"),
        ("run_at", "2099-01-01T00:00:00Z"),
        ("expires_in", 0),
        ("expires_in", "60"),
        ("timeout", 0),
        ("timeout", 604_801),
        ("soft_timeout", -1),
        ("max_attempts", 0),
        ("max_attempts", 101),
        ("max_attempts", 3.0),
        ("max_attempts", True),
        ("max_attempts", "3"),
        ("max_attempts", 10**4000),
        ("unique", False),
        ("unique", "k"),
        ("unique", 1),
        ("unique", {"a": 1, "b": 2, "c": 3}),
        ("tags", "a"),
        ("tags", ["a"] * 17),
        ("tags", ["a", "a"]),
        ("tags", {"a": 1}),
        ("callback_url", 1),
        ("callback_url", "ftp://example.com"),
        ("callback_url", "http://127.0.0.1/"),
        ("task_id", "x"),
        ("", 1),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, value: object) -> None:
    assert places({"type": "t", field: value}) == [f"/{field}"]


@pytest.mark.parametrize(
    "field, value, place",
    [
        ("tags", ["a", "b\x00"], "/tags/1"),
        ("tags", ["\n"], "/tags/0"),
        ("tags", [""], "/tags/0"),
        ("tags", ["a" * 101], "/tags/0"),
        ("tags", [1], "/tags/0"),
        ("unique", {"key": ""}, "/unique/key"),
        ("unique", {"key": "a" * 201}, "/unique/key"),
        ("unique", {"key": 1}, "/unique/key"),
        ("unique", {"key": "k", "for": 0}, "/unique/for"),
        ("unique", {"key": "k", "for": 604_801}, "/unique/for"),
        ("unique", {"key": "k", "for": "1"}, "/unique/for"),
        ("unique", {"key": "k", "since": 1}, "/unique/since"),
    ],
)
def test_a_fault_inside_a_field_is_named(field: str, value: object, place: str) -> None:
    assert places({"type": "t", field: value}) == [place]


def test_all_faults_are_named_with_the_place_of_the_item() -> None:
    found = places({"type": 1, "delay": "1", "a/b~c": 1}, at="/tasks/17")

    assert sorted(found) == ["/tasks/17/a~1b~0c", "/tasks/17/delay", "/tasks/17/type"]


def test_what_may_be_left_out_may_be_null() -> None:
    names = ("queue", "delay", "run_at", "expires_in", "timeout", "soft_timeout", "max_attempts", "unique")

    assert accepted(**dict.fromkeys(names)) == accepted()


def test_unique_is_true_or_has_a_key() -> None:
    by_payload, by_key = accepted(unique=True).unique, accepted(unique={"key": "k", "for": 1}).unique

    assert by_payload is not None
    assert (by_payload.key, by_payload.for_s) == (None, None)
    assert by_key is not None
    assert (by_key.key, by_key.for_s) == ("k", 1.0)


def test_of_a_megabyte_of_unknown_fields_fifty_are_named() -> None:
    assert len(places({f"field{number}": 1 for number in range(100_000)})) == 50


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31t12:00:00z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00.5+02:00", datetime(2030, 1, 31, 10, microsecond=500_000, tzinfo=UTC)),
        ("2030-01-31T12:00:00.123456789Z", datetime(2030, 1, 31, 12, microsecond=123_456, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment
    assert parse_moment(text).utcoffset() == timedelta(0)
