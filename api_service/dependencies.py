"""What the routes ask for: the parts of the API, and what the request says beyond its path."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from api_service.exchange import exchange_of
from api_service.live.sources import Sources
from api_service.reading import TaskReader
from api_service.services import Services
from api_service.submission import Submitter
from shared import jsontext
from shared.accepting.planning import RequestFacts, fingerprint
from shared.domain.access import Scope
from shared.errors import InvalidInputError, TaskNotFoundError

_MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Api:
    """The parts of the API.

    Attributes:
        services: What it stands on.
        submitter: The way in.
        reader: The way out.
        news: Where open streams get their news from.
        stopping: Set when the process is about to end: whoever waits for something answers now.
    """

    services: Services
    submitter: Submitter
    reader: TaskReader
    news: Sources
    stopping: asyncio.Event

    def stop(self) -> None:
        """Let everything that is under way come to its end."""
        self.stopping.set()
        self.services.streams.end_feeds()


def api_of(request: HTTPConnection) -> Api:
    """The parts of the API that serves this request."""
    api: Api = request.app.state.api
    return api


async def _services(request: Request) -> Services:
    return api_of(request).services


async def task_id_of(task_id: str) -> UUID:
    """The id that a path names.

    Raises:
        TaskNotFoundError: It is none.
    """
    try:
        return UUID(task_id)
    except ValueError as error:
        raise TaskNotFoundError(task_id) from error


ServicesDep = Annotated[Services, Depends(_services)]
#: The id in the path; what is no id is the id of no task.
TaskId = Annotated[UUID, Depends(task_id_of)]


async def json_body(request: Request) -> Any:
    """The JSON value in the body.

    Raises:
        InvalidInputError: The body is said to be something else.
        JsonError: It is no JSON.
        BodyTooLargeError: It is too large.
    """
    _require_json(request)
    return jsontext.loads(await request.body())


async def optional_json_body(request: Request, *, otherwise: Any) -> Any:
    """The JSON value in the body, or `otherwise` where there is none; raises what `json_body` does."""
    return await json_body(request) if await request.body() else otherwise


def request_facts(request: Request, body: Any) -> RequestFacts:
    """What a task keeps of this request.

    Raises:
        InvalidInputError: The Idempotency-Key can't be one.
    """
    exchange = exchange_of(request)
    caller = exchange.caller
    name = None if caller is None else caller.name
    may_operate = caller is None or Scope.OPERATE in caller.scopes
    key = _idempotency_key(request)
    if key is None:
        return RequestFacts(exchange.request_id, submitted_by=name, may_operate=may_operate)
    place = f"{request.method} {request.url.path}"
    if name is not None:
        place = f"{place} by {name}"
    return RequestFacts(
        exchange.request_id, key, fingerprint(key, place, body), submitted_by=name, may_operate=may_operate
    )


def _require_json(request: Request) -> None:
    declared = exchange_of(request).headers.get("content-type")
    if declared is None:
        return
    media_type = declared.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise InvalidInputError([("Content-Type", "must be application/json")])


def _idempotency_key(request: Request) -> str | None:
    if "idempotency-key" not in exchange_of(request).headers:
        return None
    key, *others = request.headers.getlist("idempotency-key")
    if others or not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise InvalidInputError(
            [("Idempotency-Key", f"must be one text of 1 to {_MAX_KEY} printable ASCII characters")]
        )
    return key
