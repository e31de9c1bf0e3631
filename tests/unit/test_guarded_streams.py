"""What becomes of an open stream when its key is revoked."""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api_service.auth import Access, Guard
from api_service.edge import Edge
from api_service.keyring import Keyring
from shared.domain.access import ALL_SCOPES, ApiKey, digest_of

KEY = "tm_a-key-of-0123456789"


class Stored:
    """Plays the table of keys."""

    def __init__(self) -> None:
        self.keys = [ApiKey("shop", digest_of(KEY.encode()), ALL_SCOPES)]

    async def live(self) -> list[ApiKey]:
        return self.keys


def guarded(stored: Stored, messages: list[dict[str, Any]]) -> tuple[Edge, Keyring]:
    """An application that sends the messages, the second half of them after the key was revoked."""
    keyring = Keyring((), stored)  # type: ignore[arg-type]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for number, message in enumerate(messages):
            if number == len(messages) // 2:
                stored.keys = []
                await keyring.refresh()
            await send(message)

    return Edge(app, Guard(Access(), keyring), max_bytes=10), keyring


async def sent_by(edge: Edge, type_: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {"type": type_, "method": "GET", "path": "/events", "headers": [(b"x-api-key", KEY.encode())]}
    if type_ == "websocket":
        del scope["method"]
    with suppress(WebSocketDisconnect):
        await edge(scope, receive, send)
    return sent


def event(text: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": True}


async def test_events_end_when_the_key_is_revoked() -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    edge, _ = guarded(Stored(), [start, event(b"1"), event(b"2"), event(b"3")])

    sent = await sent_by(edge, "http")

    assert sent == [start, event(b"1"), {"type": "http.response.body", "body": b"", "more_body": False}]


async def test_a_web_socket_is_closed_when_the_key_is_revoked() -> None:
    accept = {"type": "websocket.accept"}
    said = {"type": "websocket.send", "text": "1"}
    edge, _ = guarded(Stored(), [accept, said, said, said])

    sent = await sent_by(edge, "websocket")

    assert sent[:2] == [accept, said]
    assert [(message["type"], message.get("code")) for message in sent[2:]] == [("websocket.close", 1008)]


async def test_an_answer_that_is_under_way_comes_to_its_end() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/pdf")]}
    messages = [start, event(b"1"), event(b"2"), event(b"3")]
    edge, keyring = guarded(Stored(), messages)
    headers = [(b"x-api-key", KEY.encode())]
    await edge({"type": "http", "method": "GET", "path": "/file", "headers": headers}, receive, send)

    assert sent == messages
    assert not await keyring.any()
