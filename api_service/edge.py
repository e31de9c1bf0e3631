"""What happens to every request around its route: an id, a key, a limit, a log line, and no exception left over."""

import time
from collections.abc import Mapping

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, bound_contextvars, reset_contextvars

from api_service.access_log import note_answer
from api_service.auth import Guard, RefusedError
from api_service.exchange import Exchange
from api_service.problems import BodyTooLargeError, problem, problem_of, too_large
from shared.errors import TaskmillError

log = structlog.get_logger(__name__)


class Edge:
    """All that lies around the routes, in one pass: as middlewares each part cost as much as its work.

    Args:
        app: The routes.
        guard: Decides who gets in.
        max_bytes: Limit of a body. (Starlette has one too, but what it answers is plain text.)
        max_bytes_at: Other limits, by path.
    """

    def __init__(
        self, app: ASGIApp, guard: Guard, *, max_bytes: int, max_bytes_at: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._guard = guard
        self._max_bytes = max_bytes
        self._max_bytes_at = max_bytes_at or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or the opening of a WebSocket; pass on what is neither."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        limit = self._max_bytes_at.get(scope["path"], self._max_bytes)
        exchange = Exchange(scope, receive, send, max_bytes=limit, holds=self._guard.holds)
        bound = bind_contextvars(request_id=exchange.request_id)
        try:
            if scope["type"] == "http":
                await self._answer(exchange)
            else:
                await self._admit(exchange)
        finally:
            reset_contextvars(**bound)
            exchange.end()

    async def _answer(self, exchange: Exchange) -> None:
        """Answer 500 where a bug let an exception through; the log has it, the client does not. Log all answers."""
        began = time.perf_counter()
        try:
            await self._admit(exchange)
        except ClientDisconnect:
            log.debug("client_gone")
        except Exception:
            log.exception("request_failed")
            if exchange.has_begun:
                raise  # half an answer is out: the server must cut the connection
            detail = "something went wrong here; the log has it under this request's id"
            await _refuse(problem(500, "internal", detail), exchange)
        finally:
            note_answer(exchange, time.perf_counter() - began)

    async def _admit(self, exchange: Exchange) -> None:
        """Let a request through to its route, or say why not."""
        try:
            await self._guard.admit(exchange)
        except RefusedError as refusal:
            await _refuse(refusal.answer, exchange)
        except TaskmillError as error:
            await _refuse(problem_of(error), exchange)
        else:
            await self._let_through(exchange)

    async def _let_through(self, exchange: Exchange) -> None:
        if exchange.declares_too_much:
            await _refuse(too_large(BodyTooLargeError(exchange.max_bytes)), exchange)
        elif exchange.caller is None:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        else:
            with bound_contextvars(caller=exchange.caller.name):
                await self._app(exchange.scope, exchange.receive, exchange.send)


async def _refuse(answer: Response, exchange: Exchange) -> None:
    scope = exchange.scope
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await exchange.send({"type": "websocket.close", "code": 1008})
        return
    await answer(scope, exchange.receive, exchange.send)
