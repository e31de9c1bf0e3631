"""How an answer leaves."""

import asyncio
from typing import Any

import pytest

from api_service.protocol import HeadWithBody


class Wire:
    """Plays the connection."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def wire() -> Wire:
    return Wire()


def writer(wire: Any) -> HeadWithBody:
    return HeadWithBody(wire, asyncio.get_running_loop())


async def test_a_head_leaves_with_the_body_that_follows_at_once(wire: Wire) -> None:
    answer = writer(wire)

    answer.write(b"head ")
    answer.write(b"body")
    await asyncio.sleep(0)

    assert wire.writes == [b"head body"]


async def test_a_head_does_not_wait_for_a_body_that_comes_later(wire: Wire) -> None:
    answer = writer(wire)

    answer.write(b"head")
    await asyncio.sleep(0)
    assert wire.writes == [b"head"]
    answer.write(b"one")
    answer.write(b"two")

    assert wire.writes == [b"head", b"one", b"two"]


async def test_a_head_without_a_body_leaves_before_the_connection_is_closed(wire: Wire) -> None:
    answer = writer(wire)

    answer.write(b"head")
    answer.close()
    await asyncio.sleep(0)

    assert (wire.writes, wire.closed) == ([b"head"], True)
