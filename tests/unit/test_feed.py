"""What waits for one open stream, and how far a client has heard."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_service.live.bookmark import Bookmark
from api_service.live.feed import Feed
from api_service.live.message import Told
from shared.events.base import Event
from shared.events.position import Position

LARGEST = 2**64 - 1


def told(version: int | None = None, *, queue: str = "default", type_: str = "demo.echo") -> Told:
    return Told(Event("status", uuid4(), type_, queue, {} if version is None else {"version": version}))


async def test_all_that_waits_is_taken_at_once_and_in_order() -> None:
    feed = Feed(5)
    events = [told(version) for version in range(3)]
    for event in events:
        feed.notice(event)

    assert await feed.take(10) == events
    assert await feed.take(0.01) == []


async def test_a_feed_that_falls_behind_keeps_nothing_until_it_is_renewed() -> None:
    feed = Feed(3)
    for version in range(1, 6):
        feed.notice(told(version))
    assert feed.is_behind
    assert await feed.take(10) == []

    feed.renew()
    feed.notice(after := told(9))

    assert not feed.is_behind
    assert await feed.take(10) == [after]


async def test_the_end_wakes_who_waits() -> None:
    feed = Feed(3)
    waiting = asyncio.create_task(feed.take(60))
    await asyncio.sleep(0)

    feed.close()

    assert await asyncio.wait_for(waiting, 10) == []
    assert feed.is_closed


async def test_only_what_is_wanted_waits() -> None:
    feed = Feed(3, queue="reports", type_="demo.echo")
    wanted = told(queue="reports")
    for event in (told(), wanted, told(queue="reports", type_="other")):
        feed.notice(event)

    assert await feed.take(10) == [wanted]


def test_a_task_that_moved_on_unheard_lags_when_asked_again() -> None:
    feed = Feed(3)
    feed.known_version = 2
    assert [feed.lags(2), feed.lags(3)] == [False, False]
    assert feed.lags(3)

    feed.notice(told(3))

    assert not feed.lags(3)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST), st.integers(0, 999_999_999), st.integers(0, 2**31))
def test_a_bookmark_is_read_as_it_was_written(time_ms: int, number: int, offset: int, version: int) -> None:
    bookmark = Bookmark(Position(time_ms, number, offset), version)

    assert Bookmark.find(str(bookmark)) == bookmark


@given(st.text() | st.from_regex(r"[0-9.-]*"))
def test_any_text_is_a_bookmark_or_none(text: str) -> None:
    found = Bookmark.find(text)

    assert found is None or Bookmark.find(str(found)) == found


@pytest.mark.parametrize("text", ["", "0", "1-2", "1-2-3.", "1-2-3.x", "1-2-3.-1", f"{LARGEST + 1}-0-0", "1-2-3\n"])
def test_what_is_no_bookmark_is_none(text: str) -> None:
    assert Bookmark.find(text) is None


def test_integers_of_any_size_are_told() -> None:
    content = Told(Event("log", uuid4(), "demo.echo", "default", {"large": 2**80})).content

    assert b'"large":1208925819614629174706176' in content.data
