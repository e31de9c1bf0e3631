"""From a checked submission to the task that is stored: defaults, cross-checks, keys. Pure but for the id."""

import hashlib
import json
from typing import Any, NamedTuple

from shared.accepting.catalogue import KnownType
from shared.accepting.envelope import TaskSubmission
from shared.accepting.faults import Fault
from shared.domain.task import IdempotencyKey, NewTask, UniqueKey
from shared.domain.task_type import SYSTEM_QUEUE, TaskTypeInfo
from shared.errors import InvalidInputError, OperatorsTypeError
from shared.ids import new_task_id
from shared.jsontext import dumps


class RequestFacts(NamedTuple):
    """What a task keeps of the request that brought it.

    Attributes:
        request_id: Stands in the log lines of the handler too.
        idempotency_key: What the client sent, or None.
        fingerprint: Tells this request from another one with the same key.
        submitted_by: Name of the API key that sent it; None where none is asked for.
        may_operate: Whether the sender may have Taskmill work on itself: clean up, replay.
    """

    request_id: str | None
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    submitted_by: str | None = None
    may_operate: bool = True


def plan(
    submission: TaskSubmission, known: KnownType, facts: RequestFacts, *, index: int = 0, at: str = ""
) -> NewTask:
    """The task to store.

    Args:
        submission: What the client wrote.
        known: Its type.
        facts: Where it comes from.
        index: Its place in the batch.
        at: The pointer to it in the body.

    Raises:
        InvalidInputError: The schema refuses the payload, or fields contradict each other.
        OperatorsTypeError: It is one of Taskmill's own tasks, and the sender may not operate it.
    """
    if known.info.queue == SYSTEM_QUEUE and not facts.may_operate:
        raise OperatorsTypeError(known.info.name)
    payload = dumps(submission.payload)
    known.require_valid(submission.payload, len(payload), at=f"{at}/payload")
    timeout_s = submission.timeout or known.info.timeout_s
    soft_timeout_s = _soft_timeout_s(submission, known.info, timeout_s)
    _require_consistent(submission, timeout_s, soft_timeout_s, at)
    return NewTask(
        id=new_task_id(),
        type=known.info.name,
        queue=submission.queue or known.info.queue,
        payload=payload,
        max_attempts=submission.max_attempts or known.info.max_attempts,
        timeout_s=timeout_s,
        soft_timeout_s=soft_timeout_s,
        priority=submission.priority,
        delay_s=submission.delay,
        run_at=submission.run_at,
        expires_in_s=submission.expires_in,
        tags=tuple(submission.tags),
        unique=_unique_key(submission),
        idempotency=_idempotency_key(facts, index),
        request_id=facts.request_id,
        submitted_by=facts.submitted_by,
        callback_url=submission.callback_url,
    )


def fingerprint(key: str, place: str, body: Any) -> bytes:
    """What all requests with the same key, place (method and path) and JSON value have in common, and no others."""
    return _digest("request", key, place, canonical(body))


def canonical(value: Any) -> str:
    """One text for equal JSON values, however they were written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _soft_timeout_s(submission: TaskSubmission, info: TaskTypeInfo, timeout_s: float) -> float | None:
    if submission.soft_timeout is not None:
        return submission.soft_timeout
    # The type's own warning would come too late for a client that set a shorter limit.
    return info.soft_timeout_s if (info.soft_timeout_s or 0) < timeout_s else None


def _require_consistent(submission: TaskSubmission, timeout_s: float, soft_timeout_s: float | None, at: str) -> None:
    faults: list[Fault] = []
    if submission.delay is not None and submission.run_at is not None:
        faults.append((f"{at}/run_at", "can't be given together with 'delay'"))
    if soft_timeout_s is not None and soft_timeout_s >= timeout_s:
        faults.append((f"{at}/soft_timeout", f"must be less than the timeout of {timeout_s:g} s"))
    if faults:
        raise InvalidInputError(faults)


def _unique_key(submission: TaskSubmission) -> UniqueKey | None:
    unique = submission.unique
    if unique is None:
        return None
    if unique.key is not None:
        return UniqueKey(_digest("unique-key", submission.type, unique.key), unique.for_s)
    return UniqueKey(_digest("unique-payload", submission.type, canonical(submission.payload)), unique.for_s)


def _idempotency_key(facts: RequestFacts, index: int) -> IdempotencyKey | None:
    if facts.idempotency_key is None:
        return None
    # Two callers who happen to use the same key must not be shown each other's task.
    caller = () if facts.submitted_by is None else (facts.submitted_by,)
    return IdempotencyKey(_digest("idempotency", facts.idempotency_key, str(index), *caller), facts.fingerprint)


def _digest(*parts: str) -> bytes:
    # Each part is hashed by itself first, so that no text can run over into the next part.
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode()).digest())
    return whole.digest()
