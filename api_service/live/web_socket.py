"""News over a WebSocket: the client listens, and what it says is not heard."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import structlog
from fastapi import WebSocket, WebSocketDisconnect
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame
from websockets.http11 import Request

from api_service.live.message import Batches, Message
from api_service.problems import problem
from api_service.protocol import cut_off

log = structlog.get_logger(__name__)

#: Close codes (RFC 6455, section 7.4.1): the task is done; come back and go on.
_DONE: Final = 1000
_TRY_AGAIN: Final = 1012


class ListenersProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, but deaf: messages of clients are dropped where they arrive.

    uvicorn keeps one for the application, reads no further until it is asked for, and logs a traceback for text
    that is not UTF-8. A handshake that is broken it answers in plain text, or not at all.
    """

    def handle_connect(self, event: Request) -> None:
        """Hand a handshake on to the application, if it is one."""
        try:
            self.conn.process_request(event)
        except InvalidHandshake as error:
            self._refuse(str(error))
        else:
            super().handle_connect(event)

    def handle_text(self, event: Frame) -> None:
        """Drop it."""

    def handle_bytes(self, event: Frame) -> None:
        """Drop it."""

    def handle_cont(self, event: Frame) -> None:
        """Drop it."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application has; an answer instead of a WebSocket ends the handshake too."""
        await super().send(message)
        # uvicorn would log an error for each client that is refused.
        self.handshake_complete |= message["type"] == "websocket.http.response.body"

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent; what nobody can read cuts the connection."""
        try:
            super().data_received(data)
        except (AssertionError, ValueError) as error:
            log.info("websocket_unreadable", reason=str(error) or type(error).__name__)
            self.transport.abort()
        # One that can't be parsed, such as for a header of more than 8 KiB, is no event of the library.
        if self.conn.handshake_exc is not None and not (self.handshake_initiated or self.handshake_complete):
            self._refuse(str(self.conn.handshake_exc))

    def _refuse(self, reason: str) -> None:
        self.handshake_complete = self.close_sent = True
        answer = problem(400, "bad_handshake", f"this opens no WebSocket: {reason}")
        cut_off(self.transport, answer, client=self.client)


async def send_batches(
    socket: WebSocket, first: list[Message], batches: Batches, *, is_done: Callable[[], bool]
) -> None:
    """Send each message as a JSON text, then close; returns early where the client goes away.

    Args:
        socket: Accepted.
        first: What to send first.
        batches: What to send then.
        is_done: Asked at the end, whether there is nothing more to come.
    """
    sending = asyncio.create_task(_send(socket, first, batches, is_done))
    leaving = asyncio.create_task(_left(socket))
    async with aclosing(batches):
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.wait([sending, leaving])
    if not sending.cancelled():
        sending.result()


async def _send(socket: WebSocket, first: list[Message], batches: Batches, is_done: Callable[[], bool]) -> None:
    try:
        await _send_each(socket, first)
        async for batch in batches:
            await _send_each(socket, batch)
        await socket.close(_DONE if is_done() else _TRY_AGAIN)
    except (WebSocketDisconnect, RuntimeError) as error:  # the latter where a close frame is out already
        log.debug("client_gone", reason=str(error))


async def _send_each(socket: WebSocket, batch: list[Message]) -> None:
    for message in batch:
        await socket.send_text(message.frame())


async def _left(socket: WebSocket) -> None:
    """Return when the client has gone."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
