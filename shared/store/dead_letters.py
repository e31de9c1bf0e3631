"""Dead letters: failed tasks, written with their failure, and messages that nobody could read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.errors import DeadLetterNotFoundError
from shared.ids import new_task_id
from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `error` is JSON text; `body` is the unreadable message, for those that never were tasks."""

    id: UUID
    task_id: UUID | None
    type: str | None
    queue: str
    reason: str
    error: str | None
    body: bytes | None
    died_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters a list shows; None means any."""

    queue: str | None = None
    type: str | None = None
    reason: str | None = None


class Place(NamedTuple):
    """Where a dead letter stands in the order of their deaths. An unreadable message has no `task_id`."""

    died_at: datetime
    id: UUID
    task_id: UUID | None


class DeadLetters:
    """The table `dead_letters`. Failed tasks enter it in the transaction that fails them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_unreadable(self, body: bytes, *, queue: str, reason: str) -> UUID:
        """Keep a message that is no task, so that a person can look at it."""
        letter_id = new_task_id()
        async with self._database.read() as connection:
            await connection.execute(
                _RECORD, {"id": letter_id, "queue": queue, "reason": reason, "body": body[:_KEPT_BYTES]}
            )
        return letter_id

    async def get(self, letter_id: UUID) -> DeadLetter:
        """One dead letter.

        Raises:
            DeadLetterNotFoundError: No such dead letter.
        """
        async with self._database.read() as connection:
            row = await connection.one_or_none(_GET, {"id": letter_id})
        if row is None:
            raise DeadLetterNotFoundError(letter_id)
        return DeadLetter(*row)

    async def page(
        self, wanted: DeadLetterFilter, *, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[DeadLetter]:
        """At most `limit` dead letters, the latest first, that died before the one that `before` names."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                _PAGE,
                {
                    **_parameters(wanted),
                    "before_at": before and before[0],
                    "before_id": before and before[1],
                    "limit": limit,
                },
            )
            return [DeadLetter(*row) for row in rows]

    async def matching(self, wanted: DeadLetterFilter, *, before: datetime | None = None) -> tuple[int, datetime]:
        """How many there are that died before `before` or, without it, now; and what PostgreSQL's clock says."""
        async with self._database.read() as connection:
            row = await connection.one(_MATCHING, {**_parameters(wanted), "before": before})
        return row.number, row.moment

    async def oldest(
        self, wanted: DeadLetterFilter, *, before: datetime, limit: int, after: Place | None = None
    ) -> list[Place]:
        """At most `limit` that died before `before`, the oldest first, behind the place `after`."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                _OLDEST,
                {
                    **_parameters(wanted),
                    "before": before,
                    "after_at": after and after.died_at,
                    "after_id": after and after.id,
                    "limit": limit,
                },
            )
            return [Place(*row) for row in rows]

    async def discard(self, letter_id: UUID) -> None:
        """Delete a dead letter; its task, if any, stays failed.

        Raises:
            DeadLetterNotFoundError: No such dead letter.
        """
        async with self._database.read() as connection:
            found = await connection.change(text("DELETE FROM dead_letters WHERE id = :id"), {"id": letter_id})
        if not found:
            raise DeadLetterNotFoundError(letter_id)

    async def forget_unreadable(self, *, older_than_days: float) -> int:
        """Delete unreadable messages that were recorded so long ago. Returns how many."""
        async with self._database.read() as connection:
            return await connection.change(_FORGET, {"days": older_than_days})


def _parameters(wanted: DeadLetterFilter) -> dict[str, object]:
    return {"queue": wanted.queue, "type": wanted.type, "reason": wanted.reason}


#: Bytes that are kept of an unreadable message.
_KEPT_BYTES: Final = 64 * 1024

_COLUMNS: Final = "id, task_id, type, queue, reason, error, body, died_at"

_RECORD: Final = text("""
    INSERT INTO dead_letters (id, queue, reason, body, died_at) VALUES (:id, :queue, :reason, :body, now())""")

_GET: Final = text(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = :id")

_IS_WANTED: Final = """
          (CAST(:queue AS text) IS NULL OR queue = :queue)
      AND (CAST(:type AS text) IS NULL OR type = :type)
      AND (CAST(:reason AS text) IS NULL OR reason = :reason)"""

_MATCHING: Final = text(f"""
    SELECT count(*) AS number, now() AS moment FROM dead_letters
    WHERE {_IS_WANTED} AND died_at < coalesce(CAST(:before AS timestamptz), now())""")

_OLDEST: Final = text(f"""
    SELECT died_at, id, task_id FROM dead_letters
    WHERE {_IS_WANTED} AND died_at < :before
      AND (CAST(:after_at AS timestamptz) IS NULL OR (died_at, id) > (:after_at, :after_id))
    ORDER BY died_at, id LIMIT :limit""")

_PAGE: Final = text(f"""
    SELECT {_COLUMNS} FROM dead_letters
    WHERE {_IS_WANTED}
      AND (CAST(:before_at AS timestamptz) IS NULL OR (died_at, id) < (:before_at, :before_id))
    ORDER BY died_at DESC, id DESC LIMIT :limit""")

_FORGET: Final = text("""
    DELETE FROM dead_letters
    WHERE task_id IS NULL AND died_at < now() - make_interval(secs => CAST(:days AS float8) * 86400)""")
