"""Marks: which steps of a task are done for good, so that its next attempt leaves them out."""

from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

if TYPE_CHECKING:  # handlers run in processes that have no store, too
    from shared.store.store import Store

#: Characters of a mark.
MAX_MARK_CHARS: Final = 500


class Marks(Protocol):
    """The marks of one task."""

    async def add(self, mark: str) -> None:
        """Remember a step for good."""

    async def all(self) -> frozenset[str]:
        """What was marked so far, in earlier attempts too."""


class StoredMarks:
    """Marks in PostgreSQL. While it is away they wait: a step that was done must not be forgotten for that."""

    def __init__(self, store: "Store", task_id: UUID) -> None:
        self._store = store
        self._task_id = task_id

    async def add(self, mark: str) -> None:
        """Remember a step for good."""
        await self._store.database.persist(lambda: self._store.marks.add(self._task_id, mark))

    async def all(self) -> frozenset[str]:
        """What was marked so far, in earlier attempts too."""
        return await self._store.database.persist(lambda: self._store.marks.of(self._task_id))


def require_mark(mark: str) -> None:
    """Do nothing if a text can be a mark.

    Raises:
        ValueError: It can't.
    """
    if not 1 <= len(mark) <= MAX_MARK_CHARS or "\x00" in mark:
        raise ValueError(f"a mark has 1 to {MAX_MARK_CHARS} characters, and no NUL")
