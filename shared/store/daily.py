"""What happened on one day, by type and queue; counted and sorted by PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.ids import CLOCK_SKEW, first_id_at
from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One type in one queue, or all together where both are None. Durations in seconds, of last attempts.

    Attributes:
        submitted: Tasks that were created that day; all other figures are of those that became final that day.
        waiting_p50_s: From when the task was last queued until it was started.
        running_p50_s: From then until it succeeded or failed.
    """

    type: str | None
    queue: str | None
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    waiting_p50_s: float | None
    waiting_p95_s: float | None
    waiting_max_s: float | None
    running_p50_s: float | None
    running_p95_s: float | None
    running_max_s: float | None


class Daily:
    """Sums up the table `tasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def figures(self, begin: datetime, end: datetime, *, limit: int) -> list[DayFigures]:
        """The figures from `begin` up to `end`: all together first, then by type and queue, the most tasks first.

        Reads every task that is kept and was created before `end`: for once a day.
        """
        async with self._database.read() as connection:
            rows = await connection.execute(
                _FIGURES, {"begin": begin, "end": end, "until_id": first_id_at(end + CLOCK_SKEW), "limit": limit}
            )
            return [DayFigures(*row) for row in rows]


_FIGURES: Final = text("""
    WITH that_day AS (
        SELECT type, queue, status, created_at >= :begin AND created_at < :end AS is_new,
               finished_at >= :begin AND finished_at < :end AS is_done,
               extract(epoch FROM started_at - queued_at)::float8 AS waiting_s,
               extract(epoch FROM finished_at - started_at)::float8 AS running_s
        FROM tasks
        WHERE id < :until_id AND (created_at >= :begin AND created_at < :end
                                  OR finished_at >= :begin AND finished_at < :end)
    ), summed AS (
        SELECT type, queue, grouping(type) AS is_total,
               count(*) FILTER (WHERE is_new) AS submitted,
               count(*) FILTER (WHERE is_done AND status = 'succeeded') AS succeeded,
               count(*) FILTER (WHERE is_done AND status = 'failed') AS failed,
               count(*) FILTER (WHERE is_done AND status = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE is_done AND status = 'expired') AS expired,
               percentile_cont(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY waiting_s)
                   FILTER (WHERE is_done AND waiting_s >= 0) AS waiting,
               percentile_cont(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY running_s)
                   FILTER (WHERE is_done AND running_s >= 0 AND status IN ('succeeded', 'failed')) AS running
        FROM that_day GROUP BY GROUPING SETS ((type, queue), ())
    )
    SELECT type, queue, submitted, succeeded, failed, cancelled, expired,
           waiting[1], waiting[2], waiting[3], running[1], running[2], running[3]
    FROM summed
    ORDER BY is_total DESC, greatest(submitted, succeeded + failed + cancelled + expired) DESC, type, queue
    LIMIT :limit""")
