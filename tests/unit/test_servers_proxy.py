"""The proxy between a client and a server, with an echo for a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from tests.servers.proxy import Proxy
from tests.servers.sandbox import LOOPBACK

PATIENCE_S = 5


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, word: bytes) -> bytes:
        self.writer.write(word)
        return await self.hear()

    async def hear(self) -> bytes:
        """What comes next; nothing when the connection has ended."""
        try:
            return await asyncio.wait_for(self.reader.read(100), PATIENCE_S)
        except ConnectionError:
            return b""


Connect = Callable[[], Awaitable[Client]]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(100):
        writer.write(chunk)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(_echo, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(f"redis://user:secret@{LOOPBACK}:{port}/3") as line:
        yield line
    server.close()


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connect() -> Client:
        client = Client(*await asyncio.open_connection(LOOPBACK, urlsplit(proxy.url).port))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.writer.close()


async def test_a_line_passes_words_both_ways(proxy: Proxy, connect: Connect) -> None:
    client = await connect()

    assert await client.say(b"hello") == b"hello"
    assert await client.say(b"again") == b"again"


def test_the_address_keeps_all_but_the_host() -> None:
    url = urlsplit(Proxy("amqp://guest:guest@example.org/vhost").url)

    assert (url.scheme, url.username, url.password) == ("amqp", "guest", "guest")
    assert (url.hostname, url.path) == (LOOPBACK, "/vhost")


async def test_a_cut_breaks_connections_and_refuses_new_ones(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    await client.say(b"hello")

    await proxy.cut()

    assert await client.hear() == b""
    with pytest.raises(ConnectionRefusedError):
        await connect()


async def test_a_cut_line_can_be_healed(proxy: Proxy, connect: Connect) -> None:
    await proxy.cut()

    await proxy.heal()

    client = await connect()
    assert await client.say(b"hello") == b"hello"


async def test_a_hanging_line_is_silent_until_healed(proxy: Proxy, connect: Connect) -> None:
    old = await connect()
    await old.say(b"hello")

    proxy.hang()
    new = await connect()
    old.writer.write(b"one")
    new.writer.write(b"two")
    answers = [asyncio.create_task(each.hear()) for each in (old, new)]
    answered, _ = await asyncio.wait(answers, timeout=0.1)
    assert not answered

    await proxy.heal()
    assert await asyncio.gather(*answers) == [b"one", b"two"]


async def test_a_mute_line_passes_on_what_the_client_says_and_no_answer(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    await client.say(b"hello")

    proxy.mute()
    client.writer.write(b"one")
    answer = asyncio.create_task(client.hear())
    answered, _ = await asyncio.wait([answer], timeout=0.1)
    assert not answered

    await proxy.heal()
    assert await answer == b"one"


async def test_a_line_can_be_cut_the_moment_it_is_there(proxy: Proxy, connect: Connect) -> None:
    client = await connect()

    await proxy.cut()

    assert await client.hear() == b""


async def test_a_hanging_line_can_be_cut(proxy: Proxy, connect: Connect) -> None:
    proxy.hang()
    client = await connect()

    await asyncio.wait_for(proxy.cut(), PATIENCE_S)

    assert await client.hear() == b""


async def test_a_client_that_leaves_is_seen_to_leave(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    await client.say(b"hello")

    client.writer.write_eof()

    assert await client.hear() == b""
