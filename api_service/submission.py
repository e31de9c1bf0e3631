"""The way in: read, check, plan, and store together with whatever else arrives at the same moment."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from api_service.counting import SubmittedCounter
from shared.accepting.catalogue import Catalogue, KnownType
from shared.accepting.envelope import TaskSubmission, read_batch, read_submission
from shared.accepting.faults import MAX_FAULTS
from shared.accepting.planning import RequestFacts, plan
from shared.batching import Batcher
from shared.domain.task import Accepted, NewTask
from shared.errors import (
    DatabaseUnavailableError,
    IdempotencyConflictError,
    InvalidInputError,
    UnknownTaskTypeError,
)
from shared.jsontext import dumps
from shared.publisher import Publisher
from shared.store.store import Store

#: Seconds that PostgreSQL may be away before a submission is refused.
_PATIENCE_S: Final = 2.5
#: Seconds within which a submission is answered, however long PostgreSQL takes. It may be stored after all.
_ANSWER_WITHIN_S: Final = 10.0
#: Submissions that share a transaction, and the largest one that does: a large one would keep the others waiting.
_MAX_SHARING: Final = 100
_MAX_SHARED_TASKS: Final = 10
#: Tasks of a batch that are checked before other requests get a turn.
_SLICE: Final = 100

Submission = Sequence[NewTask]
Answers = list[Accepted]


class Submitter:
    """Accepts tasks: what it returns is committed.

    Args:
        private_callbacks: Whether a callback_url may name an address of our own network.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        catalogue: Catalogue,
        counter: SubmittedCounter,
        *,
        private_callbacks: bool = False,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._catalogue = catalogue
        self._counter = counter
        self._private_callbacks = private_callbacks
        self._batcher: Batcher[Submission, Answers] = Batcher(
            self._flush, max_items=_MAX_SHARING, splits_on=(Exception,), within_s=_ANSWER_WITHIN_S
        )

    async def submit(self, body: Any, facts: RequestFacts) -> Accepted:
        """Accept the task that the JSON value `body` describes.

        Raises:
            InvalidInputError: It describes none that can be run.
            IdempotencyConflictError: The request's key was used for another one.
            DatabaseUnavailableError: PostgreSQL is away; the task may have been stored.
        """
        submission = self._read(body)
        task = plan(submission, await self.known_type(submission.type), facts)
        [accepted] = await self._store_tasks([task])
        return accepted

    async def submit_batch(self, body: Any, facts: RequestFacts) -> Answers:
        """Accept all tasks of a batch, or none; raises what `submit` does."""
        tasks = await self._planned_batch(read_batch(body), facts)
        return await self._store_tasks(tasks) if tasks else []

    async def checked_payload(self, type_: str, payload: Any, *, at: str) -> str:
        """The JSON text of a payload that the schema of the type accepts; `at` is the pointer to it in the body.

        Raises:
            InvalidInputError: It doesn't accept it, or no worker has announced the type.
            JsonError: JSON can't hold it.
            DatabaseUnavailableError: The type is not known here, and PostgreSQL is away.
        """
        text = dumps(payload)
        try:
            known = await self._catalogue.get(type_)
        except UnknownTaskTypeError as error:
            raise InvalidInputError([(at, f"can't be checked: {error}")]) from error
        known.require_valid(payload, len(text), at=at)
        return text

    async def known_type(self, name: str, *, at: str = "") -> KnownType:
        """A type that a worker has announced; `at` is the pointer to what names it.

        Raises:
            InvalidInputError: No worker has; it names those that are known.
            DatabaseUnavailableError: It is not known here, and PostgreSQL is away.
        """
        try:
            return await self._catalogue.get(name)
        except UnknownTaskTypeError as error:
            raise InvalidInputError([(f"{at}/type", str(error))]) from error

    async def warm_up(self) -> None:
        """Read the types, so that the first submission need not wait for them.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        await self._catalogue.read()

    async def counted(self) -> None:
        """Return when what was accepted until now is counted, or Redis is away."""
        await self._counter.flush()

    async def close(self) -> None:
        """Wait until everything that was submitted is stored and counted."""
        await self._batcher.close()
        await self._counter.close()

    # Checking .......................................................................

    async def _planned_batch(self, bodies: Sequence[Any], facts: RequestFacts) -> list[NewTask]:
        tasks: list[NewTask] = []
        faults: list[tuple[str, str]] = []
        types: dict[str, KnownType] = {}
        for index, body in enumerate(bodies):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            at = f"/tasks/{index}"
            try:
                submission = self._read(body, at)
                known = types.get(submission.type)
                if known is None:
                    known = types[submission.type] = await self.known_type(submission.type, at=at)
                tasks.append(plan(submission, known, facts, index=index, at=at))
            except InvalidInputError as error:
                faults += error.faults
                if len(faults) >= MAX_FAULTS:
                    break
        if faults:
            raise InvalidInputError(faults)
        return tasks

    def _read(self, body: Any, at: str = "") -> TaskSubmission:
        return read_submission(body, at, private_callbacks=self._private_callbacks)

    # Storing ........................................................................

    async def _store_tasks(self, tasks: Submission) -> Answers:
        try:
            if len(tasks) <= _MAX_SHARED_TASKS:
                return await self._batcher.submit(tasks)
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                [answers] = await self._accept([tasks])
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"no answer within {_ANSWER_WITHIN_S:g} s") from error
        if isinstance(answers, Exception):
            raise answers
        return answers

    async def _flush(self, submissions: Sequence[Submission]) -> Sequence[Answers | Exception]:
        try:
            return await self._accept(submissions)
        except DatabaseUnavailableError as error:
            # No use in trying them one by one, as is done with any other error.
            return [error] * len(submissions)

    async def _accept(self, submissions: Sequence[Submission]) -> list[Answers | Exception]:
        tasks = [task for submission in submissions for task in submission]
        born = await self._store.database.persist(lambda: self._store.submissions.accept(tasks), for_s=_PATIENCE_S)
        self._publisher.offer(born.rings)
        self._counter.count(born.answers)
        answers = iter(born.answers)
        return [_answers_of(list(islice(answers, len(submission)))) for submission in submissions]


def _answers_of(answers: Sequence[Accepted | IdempotencyConflictError]) -> Answers | Exception:
    conflict = next((answer for answer in answers if isinstance(answer, IdempotencyConflictError)), None)
    return conflict or [answer for answer in answers if isinstance(answer, Accepted)]
