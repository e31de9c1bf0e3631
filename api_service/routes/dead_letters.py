"""What failed for good: look at it, run it again, or discard it."""

from base64 import b64encode
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep, api_of, optional_json_body, request_facts
from api_service.paging import ListQuery, Page, QueueName, Word, cursor_of, place_of
from api_service.problems import RETRY_SOON, problem
from api_service.renewing import renew
from api_service.replaying import (
    PayloadEdit,
    ReplayBody,
    ReplayQuery,
    ReplaysUnknownError,
    edited_payload,
    read_replay,
    submit_replay,
)
from api_service.views import DeadLetterView, RenewedView, ReplayView
from shared.errors import DeadLetterNotFoundError, NotReplayableError
from shared.store.dead_letters import DeadLetter, DeadLetterFilter

router: Final = APIRouter(tags=["dead letters"])


class DeadLetterListQuery(ListQuery):
    """Which dead letters a list shows."""

    queue: QueueName | None = None
    type: Word | None = None
    reason: Word | None = None
    cursor: Word | None = None


async def _letter_id(letter_id: str) -> UUID:
    try:
        return UUID(letter_id)
    except ValueError as error:
        raise DeadLetterNotFoundError(letter_id) from error


LetterId = Annotated[UUID, Depends(_letter_id)]


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    """What Swagger UI shows of a body that the route reads itself; it may be left out."""
    return {
        "requestBody": {"required": False, "content": {"application/json": {"schema": model.model_json_schema()}}}
    }


@router.get("/dead-letters")
async def list_dead_letters(
    services: ServicesDep, query: Annotated[DeadLetterListQuery, Query()]
) -> Page[DeadLetterView]:
    """Dead letters, the latest first."""
    wanted = DeadLetterFilter(queue=query.queue, type=query.type, reason=query.reason)
    before = None if query.cursor is None else place_of(query.cursor)
    found = await services.store.dead_letters.page(wanted, limit=query.limit + 1, before=before)
    shown = found[: query.limit]
    cursor = cursor_of(shown[-1].died_at, shown[-1].id) if len(found) > query.limit else None
    return Page(items=[_view(letter) for letter in shown], next=cursor)


@router.get("/dead-letters/{letter_id}")
async def get_dead_letter(services: ServicesDep, letter_id: LetterId) -> DeadLetterView:
    """A dead letter. What its task was given and what it did is at `/tasks/{task_id}`."""
    return _view(await services.store.dead_letters.get(letter_id))


@router.post(
    "/dead-letters/replay",
    status_code=202,
    responses={202: {"model": ReplayView}, 200: {"model": ReplayView}},
    openapi_extra=_body_of(ReplayBody),
)
async def replay_dead_letters(
    request: Request, services: ServicesDep, query: Annotated[ReplayQuery, Query()], audit: AuditDep
) -> Response:
    """Have a task replay all that match and have died until now, so many a second at most.

    The filter may stand in the body or in the query; without one all are replayed. A task that fails again stays a
    dead letter, and so does what can't be replayed. The task can be watched and cancelled like any other.
    """
    asked = read_replay(query, await optional_json_body(request, otherwise={}))
    facts = request_facts(request, asked.model_dump())
    await audit.note("dead_letters.replay", **asked.model_dump(exclude_none=True))
    try:
        view = await submit_replay(services, api_of(request).submitter, asked, facts)
    except ReplaysUnknownError as error:
        return problem(503, "no_worker", str(error), headers=RETRY_SOON)
    status = 200 if view.duplicate else 202
    return Response(view.model_dump_json(), status, {"Location": f"/tasks/{view.task_id}"}, "application/json")


@router.post("/dead-letters/{letter_id}/replay", status_code=202, openapi_extra=_body_of(PayloadEdit))
async def replay_dead_letter(
    request: Request, services: ServicesDep, letter_id: LetterId, audit: AuditDep
) -> RenewedView:
    """Run the task of a dead letter again, with its attempts renewed; the dead letter is gone then.

    With `{"payload": …}` in the body it runs with that payload from now on.
    """
    body = await optional_json_body(request, otherwise={})
    letter = await services.store.dead_letters.get(letter_id)
    if letter.task_id is None or letter.type is None:
        raise NotReplayableError(letter_id)
    payload = await edited_payload(api_of(request).submitter, letter.type, body)
    await audit.note("dead_letter.replay", target=letter_id, payload_edited=payload is not None)
    return await renew(services, letter.task_id, payload=payload)


@router.delete("/dead-letters/{letter_id}", status_code=204)
async def discard_dead_letter(services: ServicesDep, letter_id: LetterId, audit: AuditDep) -> Response:
    """Forget a dead letter. Its task, if it has one, stays failed."""
    await audit.note("dead_letter.discard", target=letter_id)
    await services.store.dead_letters.discard(letter_id)
    return Response(status_code=204)


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=letter.id,
        task_id=letter.task_id,
        type=letter.type,
        queue=letter.queue,
        reason=letter.reason,
        error=None if letter.error is None else orjson.loads(letter.error),
        body=None if letter.body is None else b64encode(letter.body).decode(),
        died_at=letter.died_at,
    )
