"""What happens around every route, without any server behind it."""

import gc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from api_service.auth import Access, Guard
from api_service.edge import Edge
from api_service.keyring import Keyring
from api_service.origins import is_loopback


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    response: Response
    match request.url.path:
        case "/bug":
            raise ValueError("secret")
        case "/late-bug":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ValueError("secret")
        case "/gone":
            raise ClientDisconnect
        case _:
            bound = structlog.contextvars.get_contextvars()
            response = JSONResponse({"bound": bound.get("request_id"), "bytes": len(await request.body())})
    await response(scope, receive, send)


@pytest.fixture
def edge() -> Edge:
    """Without keys."""
    guard = Guard(Access(enabled=False), Keyring((), None))  # type: ignore[arg-type]
    return Edge(answer, guard, max_bytes=10, max_bytes_at={"/large": 20})


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://api") as opened:
        yield opened


@pytest.mark.parametrize("given", ["abc", "a b", "x" * 128, "~!"])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/", headers={"X-Request-ID": given})

    assert response.headers["x-request-id"] == response.json()["bound"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"\xff", "ü".encode(), b"a\tb"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, given: bytes) -> None:
    headers: Any = [(b"X-Request-ID", given)]
    response = await client.get("/", headers=headers)

    assert response.headers["x-request-id"] == response.json()["bound"]
    assert len(response.headers["x-request-id"]) == 32


async def test_the_request_id_is_bound_no_longer_than_the_request(client: httpx.AsyncClient) -> None:
    await client.get("/")

    assert "request_id" not in structlog.contextvars.get_contextvars()


async def test_a_bug_is_logged_and_not_told(client: httpx.AsyncClient) -> None:
    with capture_logs() as logged:
        response = await client.get("/bug")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    assert "secret" not in response.text
    assert [(line["event"], line.get("status")) for line in logged] == [
        ("request_failed", None),
        ("request_answered", 500),
    ]


async def test_half_an_answer_is_cut_off(client: httpx.AsyncClient) -> None:
    with capture_logs(), pytest.raises(ValueError, match="secret"):
        await client.get("/late-bug")


async def test_a_client_that_is_gone_is_no_bug(edge: Edge) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "GET", "path": "/gone", "headers": [], "query_string": b""}
    with capture_logs() as logged:
        await edge(scope, receive, send)

    assert [(line["event"], line.get("status")) for line in logged if line["log_level"] == "info"] == [
        ("request_answered", 499)
    ]


async def test_a_request_leaves_nothing_to_the_garbage_collector(edge: Edge) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(_: Any) -> None:
        pass

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await edge(
                {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}, receive, send
            )

        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("path, limit", [("/", 10), ("/large", 20)])
async def test_a_body_may_be_as_long_as_its_route_allows(client: httpx.AsyncClient, path: str, limit: int) -> None:
    exact = await client.post(path, content=b"x" * limit)
    over = await client.post(path, content=b"x" * (limit + 1))

    assert exact.json()["bytes"] == limit
    assert (over.status_code, over.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "host, expected",
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("example.com", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
