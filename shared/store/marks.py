"""Steps that handlers have done for good."""

from typing import Final
from uuid import UUID

from shared.store.database import Database
from shared.store.statement import text


class Marks:
    """The table `task_marks`. Its rows go with their task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, task_id: UUID, mark: str) -> None:
        """Remember a step. Safe to repeat."""
        async with self._database.read() as connection:
            await connection.execute(_ADD, {"id": task_id, "mark": mark})

    async def of(self, task_id: UUID) -> frozenset[str]:
        """What was marked in all attempts of a task so far."""
        async with self._database.read() as connection:
            return frozenset(mark for (mark,) in await connection.execute(_OF, {"id": task_id}))

    async def count(self, task_id: UUID) -> int:
        """How many steps were marked in all attempts of a task so far."""
        async with self._database.read() as connection:
            number: int = await connection.scalar(_COUNT, {"id": task_id})
        return number


_ADD: Final = text("INSERT INTO task_marks (task_id, mark) VALUES (:id, :mark) ON CONFLICT DO NOTHING")
_OF: Final = text("SELECT mark FROM task_marks WHERE task_id = :id")
_COUNT: Final = text("SELECT count(*) FROM task_marks WHERE task_id = :id")
