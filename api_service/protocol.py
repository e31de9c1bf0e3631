"""What a client may send before there is a request: a head of bounded size, in HTTP."""

import asyncio
from typing import Any, Final, cast
from uuid import uuid4

import structlog
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api_service.problems import problem

log = structlog.get_logger(__name__)

#: Bytes of a request's line and headers, or of a trailer. One read of the socket more than that may be taken.
MAX_HEAD_BYTES: Final = 64 * 1024
_KEY: Final = b"sec-websocket-key"


class CarefulProtocol(HttpToolsProtocol):
    """Refuses a head without end, and says what is wrong with anything else that is no HTTP.

    The parser collects headers of any size in memory, from anybody: no key was asked for yet. An answer leaves in one
    piece if it is there in one piece.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._came_on = False

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._came_on = False
        super().data_received(data)
        self._head_bytes = 0 if self._came_on else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._cut_off(problem(431, "headers_too_large", f"the headers are larger than {MAX_HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        """The head has come to its end."""
        self._came_on = True
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = cast(asyncio.Transport, HeadWithBody(self.transport, self.loop))

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which has a limit of its own."""
        self._came_on = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Say that this is no HTTP."""
        self._cut_off(problem(400, "not_http", "this is not a request in HTTP/1.1"))

    def _should_upgrade(self) -> bool:
        # What is no handshake is answered as if it did not ask for one, which HTTP allows.
        is_handshake = self.scope["method"] == "GET" and any(name == _KEY for name, _ in self.headers)
        return is_handshake and super()._should_upgrade()

    def _cut_off(self, answer: Response) -> None:
        cut_off(self.transport, answer, client=self.client)


class HeadWithBody:
    """Where an answer is written: its head is kept for its body, if that follows at once.

    uvicorn writes them one by one. Each write is a system call, and the first of them would wake the client for half
    an answer.
    """

    __slots__ = ("_head", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write, in order; what is first waits for what else comes in the same turn of the event loop."""
        if self._head is None:
            self._head = data
            self._loop.call_soon(self._write_head)
        elif self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write what has waited, and hang up."""
        self._write_head()
        self._transport.close()

    def _write_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


def cut_off(transport: asyncio.Transport, answer: Response, *, client: tuple[str, int] | None) -> None:
    """Answer what never becomes a request for the application, and hang up."""
    request_id = uuid4().hex
    log.info("request_refused", status=answer.status_code, request_id=request_id, client=(client or ("",))[0])
    headers = [*answer.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
    transport.close()
