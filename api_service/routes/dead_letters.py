"""What failed for good: look at it, run it again, or discard it."""

from base64 import b64encode
from typing import Annotated, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api_service.dependencies import ServicesDep
from api_service.paging import ListQuery, Page, QueueName, Word, cursor_of, place_of
from api_service.renewing import renew
from api_service.views import DeadLetterView, RenewedView
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


@router.post("/dead-letters/{letter_id}/replay", status_code=202)
async def replay_dead_letter(services: ServicesDep, letter_id: LetterId) -> RenewedView:
    """Run the task of a dead letter again, with its attempts renewed; the dead letter is gone then."""
    letter = await services.store.dead_letters.get(letter_id)
    if letter.task_id is None:
        raise NotReplayableError(letter_id)
    return await renew(services, letter.task_id)


@router.delete("/dead-letters/{letter_id}", status_code=204)
async def discard_dead_letter(services: ServicesDep, letter_id: LetterId) -> Response:
    """Forget a dead letter. Its task, if it has one, stays failed."""
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
