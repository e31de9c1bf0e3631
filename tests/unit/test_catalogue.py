"""The types that the API knows."""

import asyncio
from typing import Any

import pytest

from shared.accepting.catalogue import Catalogue, compile_type
from shared.domain.task_type import TaskTypeInfo
from shared.errors import InvalidInputError, UnknownTaskTypeError

ECHO = TaskTypeInfo(name="demo.echo", payload_schema={}, result_schema={})


class Announcements:
    """Stands for the table of types, and counts who reads it."""

    def __init__(self) -> None:
        self.readings = 0

    async def all(self) -> dict[str, TaskTypeInfo]:
        self.readings += 1
        await asyncio.sleep(0.01)
        return {ECHO.name: ECHO}


async def test_of_all_who_miss_a_type_at_once_one_reads_and_nobody_waits_for_another_reading() -> None:
    announcements = Announcements()
    catalogue = Catalogue(announcements)  # type: ignore[arg-type]

    async def ask(after_s: float) -> str:
        await asyncio.sleep(after_s)
        return (await catalogue.get("demo.echo")).info.name

    async with asyncio.timeout(0.25):  # a second reading would begin 0.3 s after the first
        names = await asyncio.gather(*(ask(after_s / 1000) for after_s in range(8)))

    assert names == ["demo.echo"] * 8
    assert announcements.readings == 1


async def test_a_type_that_nobody_announced_is_looked_for_and_refused() -> None:
    announcements = Announcements()
    catalogue = Catalogue(announcements)  # type: ignore[arg-type]

    with pytest.raises(UnknownTaskTypeError, match=r"demo\.echo"):
        await catalogue.get("demo.nope")

    assert announcements.readings == 1


EITHER = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
}


@pytest.mark.parametrize(
    "schema, payload, faults",
    [
        (EITHER, {}, [("/p/a", "is required, or 'b' in its place")]),
        (EITHER, {"a": 1, "b": 1}, [("/p/b", "only one of 'a' and 'b' can be given")]),
        ({"properties": {"x": EITHER}}, {"x": {}}, [("/p/x/a", "is required, or 'b' in its place")]),
        (
            {"$defs": {"e": EITHER}, "items": {"$ref": "#/$defs/e"}},
            [{}],
            [("/p/0/a", "is required, or 'b' in its place")],
        ),
        ({"oneOf": [{"type": "string"}, {"required": ["a"]}]}, {}, [("/p", None)]),
    ],
    ids=["neither of two", "both of two", "further down", "behind a reference", "other branches"],
)
def test_exactly_one_of_several_fields_is_asked_for_by_name(
    schema: dict[str, Any], payload: Any, faults: list[tuple[str, str | None]]
) -> None:
    known = compile_type(TaskTypeInfo(name="probe", payload_schema=schema, result_schema={}))

    with pytest.raises(InvalidInputError) as refused:
        known.require_valid(payload, 2, at="/p")

    assert [place for place, _ in refused.value.faults] == [place for place, _ in faults]
    for (_, said), (_, wanted) in zip(refused.value.faults, faults, strict=True):
        assert wanted in (None, said)
