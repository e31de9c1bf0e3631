"""JSON as it is taken and given: RFC 8259 and nothing looser."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.errors import JsonError
from shared.jsontext import dumps, loads, printable

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=10,
)


class Point(BaseModel):
    x: int
    at: datetime


@dataclass
class Named:
    name: str


@given(json_values)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(json_values)
def test_what_we_write_others_can_read(value: Any) -> None:
    assert json.loads(dumps(value)) == value


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63) - 1, 10**400])
def test_long_integers_stay_exact(number: int) -> None:
    assert loads(str(number)) == number
    assert dumps(number) == str(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        "{'a': 1}",
        "01",
        "+1",
        "nul",
        "NaN",
        "[NaN]",
        "Infinity",
        "-Infinity",
        "1 2",
        '"\x00"',
        '"\ud800"',
        r'"\ud800"',
        r'["\udfff"]',
        "1e400",
        "-1e400",
        "[1E+0400]",
        '{"a": [1e999]}',
        "9" * 400 + ".0",
        "1" * 250 + "e99",
        "[" + "1" * 220 + "E+90]",
        "9" * 5000,
        "[" * 2000 + "]" * 2000,
        '{"a":' * 2000 + "1" + "}" * 2000,
    ],
    ids=lambda text: f"{text[:9]!r} {len(text)}",
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        loads(text)


@pytest.mark.parametrize("raw", [b"\xff", b'"\xc3\x28"', b"\xff\xfe1\x00", b"\xef\xbb\xbf1", b'"\xed\xa0\x80"'])
def test_bytes_in_another_encoding_are_refused(raw: bytes) -> None:
    with pytest.raises(JsonError):
        loads(raw)


@pytest.mark.parametrize("text", ["1e308", "1e-400", "0e999", "123456789e50", '"1e999 NaN Infinity"', r'"\u0000"'])
def test_extreme_but_legal_text_is_taken(text: str) -> None:
    assert loads(text) == json.loads(text)


def test_models_dataclasses_times_and_ids_can_be_written() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    written = json.loads(dumps([Point(x=1, at=at), Named("a"), at, UUID(int=7), {1}, (2,), {3: "three"}]))

    assert written == [
        {"x": 1, "at": "2026-01-02T00:00:00Z"},
        {"name": "a"},
        "2026-01-02T00:00:00Z",
        "00000000-0000-0000-0000-000000000007",
        [1],
        [2],
        {"3": "three"},
    ]


def test_the_words_nan_and_infinity_may_stand_in_a_string() -> None:
    assert loads(dumps({"NaN": "Infinity, NaN"})) == {"NaN": "Infinity, NaN"}


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def _deep(levels: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(math.nan, id="nan"),
        pytest.param([math.inf], id="inf"),
        pytest.param({"a": -math.inf}, id="minus inf"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param({"\udfff": 1}, id="surrogate in a key"),
        pytest.param(object(), id="object"),
        pytest.param([lambda: 1], id="function"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param(_cycle(), id="cycle"),
        pytest.param(_deep(5000), id="deep"),
    ],
)
def test_what_json_can_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(JsonError):
        dumps(value)


@given(json_values, st.integers(0, 190))
def test_nesting_as_deep_as_anybody_needs_is_no_obstacle(value: Any, levels: int) -> None:
    for _ in range(levels):
        value = [value]

    assert loads(dumps(value)) == value


@given(st.text(max_size=50))
def test_printable_text_can_be_stored_anywhere(text: str) -> None:
    clean = printable(text)

    assert "\x00" not in clean
    assert clean.encode().decode() == clean


def test_long_text_keeps_its_end() -> None:
    assert printable("a" * 10 + "end", limit=5) == "…aend"
    assert printable("12345", limit=5) == "12345"
