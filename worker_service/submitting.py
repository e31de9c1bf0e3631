"""Tasks that handlers submit: checked and stored as those of clients, with the handler's task as their parent."""

from typing import Any
from uuid import UUID

from shared import jsontext
from shared.accepting.catalogue import Catalogue
from shared.accepting.envelope import read_submission
from shared.accepting.planning import RequestFacts, plan
from shared.domain.task import TaskRecord
from shared.publisher import Publisher
from shared.store.store import Store


class HandlerSubmissions:
    """What stands behind `ctx.submit`.

    Args:
        private_callbacks: Whether a callback_url may name an address of our own network.
    """

    def __init__(self, store: Store, publisher: Publisher, *, private_callbacks: bool = False) -> None:
        self._store = store
        self._publisher = publisher
        self._catalogue = Catalogue(store.task_types)
        self._private_callbacks = private_callbacks

    async def submit(self, parent: TaskRecord, type_: str, payload: Any, options: dict[str, Any]) -> UUID:
        """Store a task. The id of one that was there already is returned where `unique` finds it.

        Raises:
            UnknownTaskTypeError: No worker has announced the type.
            InvalidInputError: The payload or an option does not fit; it names what.
            JsonError: JSON can't hold the payload.
        """
        sent = {} if payload is None else jsontext.loads(jsontext.dumps(payload))  # models become plain JSON
        submission = read_submission(
            {"type": type_, "payload": sent, **options}, private_callbacks=self._private_callbacks
        )
        known = await self._catalogue.get(submission.type)
        task = plan(submission, known, RequestFacts(parent.request_id, submitted_by=parent.submitted_by))
        child = task._replace(parent_id=parent.id)
        born = await self._store.database.persist(lambda: self._store.submissions.accept([child]))
        self._publisher.offer(born.rings)
        [answer] = born.answers
        if isinstance(answer, Exception):
            raise answer
        return answer.task_id
