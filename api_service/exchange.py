"""One request under way: what is known of it, what it may send, and what goes back to the client."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api_service.problems import BodyTooLargeError
from shared.domain.access import ApiKey

_SANE_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")
_ID_BYTES: Final = 16
_ID_HEADER: Final = b"x-request-id"
# No answer is a page of ours unless its route says so: a browser that is led here shows it in no frame, runs nothing
# in it (a file that a task has made may be HTML), guesses no type and gives its address to nobody.
_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_OWN_HEADERS: Final = frozenset({_ID_HEADER, *(name for name, _ in _SAFE_HEADERS)})

#: A browser can't set headers on a WebSocket: it offers this protocol beside the one that has the key.
PROTOCOL: Final = "taskmill"

_END_OF_STREAM: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_END_OF_SOCKET: Final[Message] = {"type": "websocket.close", "code": 1008, "reason": "the API key was revoked"}


class Exchange:
    """A request, or the opening of a WebSocket, and its answer.

    Attributes:
        scope: What the server knows of it.
        headers: By lower-case name; the first where there are several of a name.
        request_id: The client's own if it is sane.
        status: Of the answer. 499, as nginx has it, until there is one: the client went away and nobody was answered.
        has_begun: Whether any of the answer is out.
        caller: The key it came with, if that is known; no stream of events goes on longer than it is good.
        max_bytes: Limit of the body.
    """

    __slots__ = (
        "_holds",
        "_is_stream",
        "_receive",
        "_received_bytes",
        "_send",
        "caller",
        "has_begun",
        "headers",
        "max_bytes",
        "request_id",
        "scope",
        "status",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, max_bytes: int, holds: Callable[[ApiKey], bool]
    ) -> None:
        self.scope = scope
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }
        self.request_id = _request_id(self.headers)
        scope.setdefault("state", {})["exchange"] = self
        self.status = 499
        self.has_begun = False
        self.caller: ApiKey | None = None
        self._receive = receive
        self._received_bytes = 0
        self.max_bytes = max_bytes
        self._send = send
        self._holds = holds
        self._is_stream = False

    @property
    def declares_too_much(self) -> bool:
        """Whether the body says of itself that it is too large."""
        declared = self.headers.get("content-length", "") if self.scope["type"] == "http" else ""
        # A number of thirty digits is too much already.
        return declared.isascii() and declared.isdigit() and float(declared[:30]) > self.max_bytes

    async def receive(self) -> Message:
        """The next part of the body.

        Raises:
            BodyTooLargeError: It turns out to be larger than was declared, and too large.
        """
        message = await self._receive()
        self._received_bytes += len(message.get("body") or b"")
        if self._received_bytes > self.max_bytes:
            raise BodyTooLargeError(self.max_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        match message["type"]:
            case "http.response.start":
                self.has_begun = True
                self.status = message["status"]
                self._complete(message)
                self._is_stream = self.caller is not None and _is_event_stream(message)
            case "websocket.accept":
                self._complete(message)
                if PROTOCOL in self.scope.get("subprotocols", ()):
                    # Browsers give up without an answer to theirs.
                    message["subprotocol"] = message.get("subprotocol") or PROTOCOL
            case "websocket.http.response.start":
                self._complete(message)
            case "websocket.send" if self._is_revoked():
                await self._send(_END_OF_SOCKET)
                raise WebSocketDisconnect(1008)
            case "http.response.body" if self._is_stream and self._is_revoked():
                await self._send(_END_OF_STREAM)
                raise ClientDisconnect
        await self._send(message)

    def end(self) -> None:
        """Let go of the request: all that was kept of it, body and all, would wait for the garbage collector."""
        del self.scope["state"]["exchange"]

    def _complete(self, beginning: Message) -> None:
        """Add what every answer carries."""
        headers = list(beginning.get("headers", ()))
        set_already = {name.lower() for name, _ in headers} & _OWN_HEADERS
        if set_already:
            headers = [header for header in headers if header[0].lower() != _ID_HEADER]
        headers.append((_ID_HEADER, self.request_id.encode()))
        headers += [header for header in _SAFE_HEADERS if header[0] not in set_already]
        beginning["headers"] = headers

    def _is_revoked(self) -> bool:
        return self.caller is not None and not self._holds(self.caller)


def exchange_of(request: HTTPConnection) -> Exchange:
    """What is known of a request besides its route."""
    exchange: Exchange = request.scope["state"]["exchange"]
    return exchange


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else os.urandom(_ID_BYTES).hex()


def _is_event_stream(beginning: Message) -> bool:
    types = (value for name, value in beginning["headers"] if name.lower() == b"content-type")
    return next(types, b"").startswith(b"text/event-stream")
