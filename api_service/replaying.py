"""Replaying dead letters: many of them by a task of our own, or one with another payload."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api_service.paging import QueueName, Word
from api_service.services import Services
from api_service.submission import Submitter
from api_service.views import ReplayView
from shared.accepting.planning import RequestFacts
from shared.accepting.strict import Strict, read_strict
from shared.domain.replay import DEFAULT_PER_SECOND, MAX_PER_SECOND, MIN_PER_SECOND, REPLAY_TYPE
from shared.domain.status import TaskStatus
from shared.errors import InvalidInputError, TaskmillError
from shared.store.dead_letters import DeadLetterFilter

PerSecond = Annotated[
    float, Field(ge=MIN_PER_SECOND, le=MAX_PER_SECOND, description="Tasks that are queued again each second, at most")
]


class ReplaysUnknownError(TaskmillError):
    """No worker has announced the task that replays."""

    code = "no_worker"

    def __init__(self) -> None:
        super().__init__(f"no worker has announced {REPLAY_TYPE}, which replays dead letters: start one")


class ReplayBody(Strict):
    """Which dead letters to replay, and how fast; what is not named may be anything."""

    queue: QueueName | None = None
    type: Word | None = None
    reason: Word | None = None
    per_second: PerSecond | None = Field(None, description=f"Default: {DEFAULT_PER_SECOND:g}")


class ReplayQuery(BaseModel):
    """The same in the query. A name that is misspelt is refused: without a filter all would be replayed."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    queue: QueueName | None = None
    type: Word | None = None
    reason: Word | None = None
    per_second: PerSecond | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given


class PayloadEdit(Strict):
    """What the next attempts of a task get instead of its payload."""

    payload: Any = Field(None, description="Any JSON value that the type's schema accepts. Default: as it was")


def read_replay(query: ReplayQuery, body: Any) -> ReplayBody:
    """What is asked for in the body and in the query together.

    Raises:
        InvalidInputError: The body is none, or the two contradict each other.
    """
    asked = read_strict(ReplayBody, body)
    written, queried = asked.model_dump(exclude_none=True), query.model_dump(exclude_none=True)
    if clashes := [name for name in written if queried.get(name, written[name]) != written[name]]:
        raise InvalidInputError([(f"?{name}", "is not what the body says") for name in clashes])
    return asked.model_copy(update=queried)


async def submit_replay(
    services: Services, submitter: Submitter, asked: ReplayBody, facts: RequestFacts
) -> ReplayView:
    """Submit the task that replays.

    Raises:
        ReplaysUnknownError: No worker could run it.
        IdempotencyConflictError: The request's key was used for another one.
        DatabaseUnavailableError: PostgreSQL is away; the task may have been stored.
    """
    per_second = asked.per_second or DEFAULT_PER_SECOND
    wanted = DeadLetterFilter(queue=asked.queue, type=asked.type, reason=asked.reason)
    matching, before = await services.store.dead_letters.matching(wanted)
    payload = {**asked.model_dump(), "before": before.isoformat(), "per_second": per_second}
    try:
        accepted = await submitter.submit({"type": REPLAY_TYPE, "payload": payload}, facts)
    except InvalidInputError as error:  # the payload is ours: only the type can be unknown
        raise ReplaysUnknownError from error
    return ReplayView(
        task_id=accepted.task_id,
        status=TaskStatus(accepted.status),
        matching=matching,
        per_second=per_second,
        before=before,
        duplicate=accepted.duplicate,
    )


async def edited_payload(submitter: Submitter, type_: str, body: Any) -> str | None:
    """The JSON text of the payload that the body names; None where it names none.

    Raises:
        InvalidInputError: The type's schema refuses it, or the body has other fields.
        DatabaseUnavailableError: PostgreSQL is away.
    """
    edit = read_strict(PayloadEdit, body)
    if "payload" not in edit.model_fields_set:
        return None
    return await submitter.checked_payload(type_, edit.payload, at="/payload")
