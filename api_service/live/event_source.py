"""Server-sent events as an answer to a request."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse
from starlette.types import Receive, Scope, Send

from api_service.live.message import Batches, Message

#: Seconds without news after which the client is shown that the stream is alive.
PING_S: Final = 15.0
#: Milliseconds that a browser waits before it comes back; the beginning of the first event.
_RETRY: Final = b"retry: 2000\n"

_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back to fill its buffer
}

#: How Swagger UI shows such an answer.
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events; each `data` is one line of JSON",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 1719900000000-0-0.3\nevent: status\ndata: {"status": "running", "version": 3, …}\n\n',
            }
        },
    }
}


class EventStream(EventSourceResponse):
    """Sends batches of messages, the first one and those that come. An empty batch becomes a comment.

    FastAPI's own way would encode each event again for each client.
    """

    def __init__(self, first: list[Message], batches: Batches) -> None:
        self._batches = batches
        super().__init__(_chunks(first, batches), headers=_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and leave no feed behind however that ends."""
        async with aclosing(self._batches):
            await super().__call__(scope, receive, send)


async def _chunks(first: list[Message], batches: Batches) -> AsyncIterator[bytes]:
    yield _RETRY + (_joined(first) or b"\n")
    async for batch in batches:
        yield _joined(batch) or KEEPALIVE_COMMENT


def _joined(batch: list[Message]) -> bytes:
    return b"".join(message.sse() for message in batch)
