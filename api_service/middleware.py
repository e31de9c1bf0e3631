"""What happens to every request around its route: an id, a log line, a limit, and no exception left over."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_service.problems import BodyTooLargeError, problem
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

_SANE_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")
# No answer is a page of ours unless its route says so: a browser that is led here shows it in no frame, runs nothing
# in it (a file that a task has made may be HTML), guesses no type and gives its address to nobody.
_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: What an answer begins with: to a request, to one for a WebSocket, and where there is one.
_BEGINNINGS: Final = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
#: Characters of a path that the log repeats.
_MAX_PATH: Final = 200


class _HttpMiddleware(ABC):
    """Wraps the application for HTTP requests and leaves everything else alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass on what is none."""
        handle = self._handle if scope["type"] == "http" else self._app
        await handle(scope, receive, send)

    @abstractmethod
    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class RequestId(_HttpMiddleware):
    """Gives each request an id, the client's own if it is sane: it is in the answer and in every log line."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or the opening of a WebSocket; pass on what is neither."""
        handle = self._handle if scope["type"] in ("http", "websocket") else self._app
        await handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] in _BEGINNINGS:
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
                set_already = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [header for header in _SAFE_HEADERS if header[0] not in set_already]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)


class AccessLog(_HttpMiddleware):
    """Logs and counts each answer. Probes are logged at `debug`: they come all the time and say nothing."""

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        # 499, as nginx has it: the client went away and nobody was answered.
        status = 499

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            _record(scope, status, time.perf_counter() - began)


class LastResort(_HttpMiddleware):
    """Answers 500 where a bug let an exception through; the log has it, the client does not."""

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except ClientDisconnect:
            log.debug("client_gone")
        except Exception:
            log.exception("request_failed")
            if started:
                raise  # half an answer is out: the server must cut the connection
            answer = problem(500, "internal", "something went wrong here; the log has it under this request's id")
            await answer(scope, receive, send)


class BodyLimit(_HttpMiddleware):
    """Refuses bodies that are too large, by what they declare and by what they turn out to be.

    Starlette has a limit too, but what it answers is plain text.

    Args:
        app: What is guarded.
        max_bytes: Limit of a body.
        max_bytes_at: Other limits, by path.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_bytes_at: Mapping[str, int]) -> None:
        super().__init__(app)
        self._max_bytes = max_bytes
        self._max_bytes_at = max_bytes_at

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._max_bytes_at.get(scope["path"], self._max_bytes)
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLargeError(limit)
            return message

        if _declared_bytes(scope) > limit:
            error = BodyTooLargeError(limit)
            await problem(413, "body_too_large", error.detail)(scope, receive, send)
            return
        await self._app(scope, receive_within_limit, send)


def _declared_bytes(scope: Scope) -> float:
    declared = Headers(scope=scope).get("content-length", "")
    if not (declared.isascii() and declared.isdigit()):
        return 0
    return float(declared[:30])  # long before that it is too much


def _record(scope: Scope, status: int, duration_s: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    metrics.HTTP_REQUESTS.labels(scope["method"], route, status).inc()
    if not route.endswith("/events"):  # a stream is open for as long as its client likes
        metrics.HTTP_SECONDS.labels(scope["method"], route).observe(duration_s)
    say = log.debug if route.startswith(("/health", "/metrics")) else log.info
    caller = scope.get("state", {}).get("caller")
    say(
        "request_answered",
        method=scope["method"],
        path=scope["path"][:_MAX_PATH],
        status=status,
        duration_ms=round(duration_s * 1000, 2),
        client=(scope.get("client") or ("",))[0],
        **({} if caller is None else {"caller": caller.name}),
    )
