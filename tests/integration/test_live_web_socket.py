"""The news of one task, over a WebSocket."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.domain.outcome import Outcome
from shared.domain.status import TaskStatus
from tests.api import ApiUnderTest, open_api
from tests.listening import until
from tests.live import PATIENCE_S, listening, problem_in, serving

SUCCEEDED = Outcome(TaskStatus.SUCCEEDED, result="3")


@pytest.fixture
async def api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url) as opened:
        yield opened


@pytest.fixture
async def url(api: ApiUnderTest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[str]:
    """The address of the API, which must log no error."""
    async with serving(api.app) as address:
        yield address.replace("http://", "ws://")
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


def listener(url: str, task_id: object, query: str = "") -> connect:
    return connect(f"{url}/tasks/{task_id}/ws{query}", open_timeout=PATIENCE_S, proxy=None)


async def message(socket: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
    return heard


async def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All further messages, and the code with which it was closed."""
    heard: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        await _collect(socket, heard)
    assert closed.value.rcvd
    return heard, closed.value.rcvd.code


async def _collect(socket: ClientConnection, heard: list[dict[str, Any]]) -> None:
    while True:
        heard.append(await message(socket))


async def test_messages_are_those_of_the_event_stream(api: ApiUnderTest, url: str) -> None:
    task_id = await api.submit()
    async with (
        listener(url, task_id) as socket,
        listening(f"{url.replace('ws', 'http', 1)}/tasks/{task_id}/events") as client,
    ):
        first, first_event = await message(socket), await client.next()
        await api.claim(task_id)
        await api.finish(task_id, SUCCEEDED)
        others, code = await rest(socket)
        other_events = await client.rest()

    assert first_event
    assert [(each["event"], each["id"], each["data"]) for each in (first, *others)] == [
        (each.event, each.id, each.data) for each in (first_event, *other_events)
    ]
    assert [each["event"] for each in others] == ["status", "status"]
    assert code == 1000


async def test_a_client_goes_on_where_it_was(api: ApiUnderTest, url: str) -> None:
    task_id = await api.submit()
    async with listener(url, task_id) as socket:
        first = await message(socket)
    await api.run(task_id)
    async with listener(url, task_id, f"?last_event_id={first['id']}") as socket:
        missed, code = await rest(socket)
    async with listener(url, task_id, f"?last_event_id={missed[-1]['id']}") as socket:
        nothing, code_again = await rest(socket)

    assert [each["data"]["status"] for each in missed] == ["running", "succeeded"]
    assert nothing == []
    assert code == code_again == 1000


@pytest.mark.parametrize("name", ["01990000-0000-7000-8000-000000000000", "not-an-id", "%00", "%F0%9F%92%A5"])
async def test_an_unknown_task_is_refused_at_the_handshake(url: str, name: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await listener(url, name).__aenter__()

    answer = refused.value.response
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["code"] == "task_not_found"


async def test_what_a_client_says_is_not_heard(api: ApiUnderTest, url: str) -> None:
    task_id = await api.submit()
    async with listener(url, task_id) as socket:
        await message(socket)
        for said in ("hello", b"\xff\x00", "", "x" * 60_000, "[" * 5000, ["in", "pieces"]):
            for _ in range(20):
                await socket.send(said)
        await asyncio.wait_for(await socket.ping(), PATIENCE_S)
        await api.run(task_id)
        others, code = await rest(socket)

    assert others[-1]["data"]["status"] == "succeeded"
    assert code == 1000


async def test_a_message_that_is_too_long_ends_the_connection(api: ApiUnderTest, url: str) -> None:
    async with listener(url, await api.submit()) as socket:
        await message(socket)
        await socket.send("x" * 100_000)
        _, code = await rest(socket)

    assert code == 1009


HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def raw(url: str, head: bytes, frames: bytes) -> bytes:
    """What comes back for bytes that no library would send, until the end or for a moment."""
    host, _, port = url.removeprefix("ws://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(4096), PATIENCE_S)
    writer.write(frames)
    try:
        async with asyncio.timeout(0.2):
            while more := await reader.read(4096):
                answer += more
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return answer


async def test_random_frames_do_no_harm(api: ApiUnderTest, url: str) -> None:
    task_id = await api.submit()
    head = HANDSHAKE.format(path=f"/tasks/{task_id}/ws").encode()
    chance = random.Random(3)
    not_utf8 = b"\x81\x84\x00\x00\x00\x00\xff\xfe\xff\xfe"
    lonely_continuation = b"\x80\x81\x00\x00\x00\x00a"
    frames = [
        not_utf8,
        lonely_continuation,
        b"\x88\x00",
        *(chance.randbytes(chance.randrange(1, 300)) for _ in "a" * 30),
    ]

    answers = await asyncio.gather(*(raw(url, head, frame) for frame in frames))

    assert all(answer.startswith(b"HTTP/1.1 101 ") for answer in answers)
    async with listener(url, task_id) as socket:
        await api.run(task_id)
        await rest(socket)
    await until(lambda: "feeds=0" in repr(api.services.streams))


@pytest.mark.parametrize(
    "target", ["/tasks/ö/ws", "/tasks/x/ws?last_event_id=\xff\xfe", "/tasks/%zz/ws", "/nowhere", "/tasks", "/events"]
)
async def test_odd_handshakes_are_refused(url: str, target: str) -> None:
    answer = await raw(url, HANDSHAKE.format(path=target).encode("latin-1"), b"")

    assert answer[:12] in (b"HTTP/1.1 403", b"HTTP/1.1 404", b"HTTP/1.1 400")


async def test_there_is_no_socket_elsewhere(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{url}/nowhere", open_timeout=PATIENCE_S, proxy=None):
            pass

    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == "not_found"
    assert refused.value.response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "fault",
    [
        ("Version: 13", "Version: 12"),
        ("Key: ", "Key: x"),
        ("Connection: Upgrade", "Connection: upgrade, @@"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: @\r\n\r\n"),
        ("\r\n\r\n", f"\r\nCookie: {'x' * 9000}\r\n\r\n"),
    ],
)
async def test_a_broken_handshake_is_answered_with_a_problem(url: str, fault: tuple[str, str]) -> None:
    answer = await raw(url, HANDSHAKE.format(path="/tasks/x/ws").replace(*fault).encode(), b"")

    assert problem_in(answer, 400)["code"] == "bad_handshake"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_that_only_looks_like_a_handshake_is_answered_as_it_is(
    api: ApiUnderTest, url: str, method: str
) -> None:
    async with httpx.AsyncClient(base_url=url.replace("ws://", "http://"), timeout=PATIENCE_S) as client:
        answer = await client.request(
            method, "/tasks", content=b"[]", headers={"Connection": "upgrade", "Upgrade": "websocket"}
        )

    assert answer.status_code == (200 if method == "GET" else 422)
    assert answer.headers["X-Request-ID"]


async def test_any_place_is_taken(api: ApiUnderTest, url: str) -> None:
    task_id = await api.submit()
    await api.run(task_id)
    for query in ("?last_event_id=%ff%00", "?last_event_id=", "?last_event_id=1&last_event_id=2", "?%zz", "?a[]=1"):
        async with listener(url, task_id, query) as socket:
            heard, code = await rest(socket)

        assert [each["event"] for each in heard] == ["snapshot"]
        assert code == 1000


async def test_a_process_that_stops_asks_clients_to_come_back(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    async with serving(api.app) as url:
        socket = await listener(url.replace("http", "ws"), task_id)
        await message(socket)
    _, code = await rest(socket)

    assert code == 1012


async def test_a_client_that_leaves_leaves_nothing_behind(api: ApiUnderTest, url: str) -> None:
    socket = await listener(url, await api.submit())
    await message(socket)
    other = await listener(url, await api.submit())
    await message(other)
    assert "feeds=2" in repr(api.services.streams)

    await socket.close()
    other.transport.abort()

    await until(lambda: "tasks=0 feeds=0" in repr(api.services.streams))
