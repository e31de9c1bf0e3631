"""The types that the API knows."""

import asyncio

import pytest

from shared.accepting.catalogue import Catalogue
from shared.domain.task_type import TaskTypeInfo
from shared.errors import UnknownTaskTypeError

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
