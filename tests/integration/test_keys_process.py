"""Keys, limits and secrets of an API that runs as a process."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from shared.domain.access import ALL_SCOPES, ApiKey, digest_of
from shared.store.database import Database
from shared.store.store import Store
from tests.api_process import PATIENCE_S, Start, address_of, api_processes, end_of
from tests.live import problem_in

KEY = "a-key-of-0123456789"


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the API with these settings, in an empty folder."""
    async with api_processes(tmp_path) as start_api:
        yield start_api


def local(url: str) -> str:
    return url.replace("0.0.0.0", "127.0.0.1")


async def stop(process: Process) -> str:
    process.send_signal(signal.SIGTERM)
    status, said = await end_of(process)
    assert status == 0, said
    return said


async def converse(url: str, *pieces: bytes) -> bytes:
    """What is answered to these bytes, until the other side hangs up."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        async with asyncio.timeout(PATIENCE_S):
            answer = bytearray()
            with suppress(ConnectionError):
                while chunk := await reader.read(65536):
                    answer += chunk
            return bytes(answer)
    finally:
        writer.transport.abort()


# Beyond loopback ......................................................................


async def test_with_a_key_in_the_environment_it_may_listen_anywhere(start: Start, database_url: str) -> None:
    process = await start(DATABASE_URL=database_url, API_HOST="0.0.0.0", API_KEYS=f"ops:{KEY}")
    async with httpx.AsyncClient(base_url=local(await address_of(process))) as client:
        shut = await client.get("/tasks")
        opened = await client.get("/tasks", headers={"X-API-Key": KEY})
        alive = await client.get("/health/live")
    await stop(process)

    assert (shut.status_code, opened.status_code, alive.status_code) == (401, 200, 200)


async def test_with_a_key_in_the_database_it_may_listen_anywhere(start: Start, database_url: str) -> None:
    status, said = await end_of(await start(DATABASE_URL=database_url, API_HOST="0.0.0.0"))
    database = Database(database_url)
    key = ApiKey("ops", digest_of(KEY.encode()), ALL_SCOPES)
    await Store(database).api_keys.add(key, created_by="test")
    await database.close()

    process = await start(DATABASE_URL=database_url, API_HOST="0.0.0.0")
    async with httpx.AsyncClient(base_url=local(await address_of(process)), headers={"X-API-Key": KEY}) as client:
        assert (await client.delete("/keys/ops")).status_code == 204
        locked = await client.get("/tasks")
    await stop(process)

    assert status == 2
    assert "API_KEYS" in said
    assert "AUTH=off" in said
    assert locked.status_code == 401


@pytest.mark.parametrize("keys", ["short", f"{KEY},{KEY}", f"o p s:{KEY}"])
async def test_keys_that_can_not_be_read_stop_it_and_are_not_repeated(start: Start, keys: str) -> None:
    status, said = await end_of(await start(API_KEYS=keys))

    assert status == 2
    assert said.startswith("taskmill: API_KEYS: ")
    assert len(said.splitlines()) == 1
    assert "short" not in said
    assert KEY not in said


# Secrets ..............................................................................


async def test_no_secret_reaches_the_log_or_an_answer(start: Start, database_url: str) -> None:
    secrets = {
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": "amqp://rabbit:hidden-in-amqp@127.0.0.1:1/",
        "REDIS_URL": "redis://:hidden-in-redis@127.0.0.1:1/0",
        "API_KEYS": f"ops:{KEY}",
    }
    process = await start(**secrets, LOG_LEVEL="debug")
    url = await address_of(process)
    answers = []
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        made = (await client.post("/keys", json={"name": "made"})).json()["key"]
        for path in ("/keys", "/audit", "/health/ready", "/nope", "/tasks?limit=x", "/openapi.json", "/metrics"):
            answers.append(await client.get(path))
        for headers in ({"X-API-Key": made}, {"Authorization": f"Bearer wrong-{KEY}"}, {"Authorization": made}):
            answers.append(await client.post("/tasks", content=b"{", headers=headers))
        answers.append(await client.post("/keys", json={"name": made}))
        answers.append(await client.get("/tasks", headers={"X-Request-ID": "x" * 200}))
    upgrade = (
        b"GET /tasks/x/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    offered = b"Sec-WebSocket-Protocol: taskmill, taskmill.key.%s\r\n\r\n" % made.encode()
    refused = await converse(url, upgrade, b"Authorization: Bearer wrong-%s\r\n\r\n" % KEY.encode())
    accepted = asyncio.create_task(converse(url, upgrade, offered))
    await asyncio.wait([accepted], timeout=1)
    said = await stop(process)
    accepted.cancel()

    assert b" 401 " in refused.split(b"\r\n")[0]
    password = urlsplit(database_url).password
    hidden = [KEY, made, "hidden-in-amqp", "hidden-in-redis", *([password] if password else [])]
    for secret in hidden:
        assert secret not in said, [line for line in said.splitlines() if secret in line]
        if secret != made:
            assert all(secret not in answer.text for answer in answers)


# What is no request ...................................................................


async def test_headers_without_end_are_cut_off(start: Start, database_url: str) -> None:
    process = await start(DATABASE_URL=database_url)
    url = await address_of(process)
    few = await converse(
        url, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"x" * 30_000, b"\r\n\r\n"
    )
    endless = await converse(url, b"GET /health HTTP/1.1\r\nX: ", *[b"x" * 65536] * 40)
    many = await converse(url, b"GET /health HTTP/1.1\r\n", *[b"a: b\r\n" * 10_000] * 40)
    target = await converse(url, b"GET /", *[b"x" * 65536] * 40)
    trailer = await converse(
        url,
        b"POST /tasks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        *[b"x" * 65536] * 40,
    )
    still = await converse(url, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await stop(process)

    assert few.startswith(b"HTTP/1.1 200 ")
    assert still.startswith(b"HTTP/1.1 200 ")
    for answer in (endless, many, target):
        # Who goes on sending may be cut off before the answer is read.
        assert answer == b"" or problem_in(answer, 431)["code"] == "headers_too_large"
    assert b"HTTP/1.1 200" not in trailer


NO_HTTP = [
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
    b"POST /tasks HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
]


async def test_what_is_no_http_is_answered_with_a_problem(start: Start, database_url: str) -> None:
    process = await start(DATABASE_URL=database_url)
    url = await address_of(process)
    answers = [await converse(url, sent) for sent in NO_HTTP]
    said = await stop(process)

    assert [problem_in(answer, 400)["code"] for answer in answers] == ["not_http"] * len(NO_HTTP)
    assert "Traceback" not in said
