"""The facts that explain where a task stands, all of one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord
from shared.store.database import Database
from shared.store.statement import text

#: Tasks that are counted at most on each side of one in its queue.
_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What explains a task's wait, or the silence of its worker.

    A worker is live while it beats and does not stop; one that drains is live and takes nothing.

    Attributes:
        now: PostgreSQL's clock.
        paused: Whether the queue is.
        paused_at: Since when.
        live_workers: They do what every worker does, whatever queues they take from.
        consumers: Live workers that take from the queue.
        draining: Live workers that took from the queue and now take nothing.
        knowing: Those among the consumers that know the type.
        knowing_elsewhere: Other live workers that know it.
        older: Queued tasks of the queue that are older than this one, as `older_high` and `younger_high` are counted
            for a queued task alone. All three stop at 100,000 tasks.
        older_high: Those of high priority among them.
        younger_high: Queued tasks of high priority that are younger.
        in_outbox_since: Since when its message has been waiting to be sent to the broker; None where it is sent.
        heartbeat: When the worker that runs it was last heard of; None if that has left or nobody runs it.
        worker_silent: Whether that is so long ago, or so for ever, that the worker counts as lost.
    """

    now: datetime
    paused: bool = False
    paused_at: datetime | None = None
    live_workers: int = 0
    consumers: int = 0
    draining: int = 0
    knowing: int = 0
    knowing_elsewhere: int = 0
    older: int = 0
    older_high: int = 0
    younger_high: int = 0
    in_outbox_since: datetime | None = None
    heartbeat: datetime | None = None
    worker_silent: bool = False


class FactFinder:
    """Reads what is known of the surroundings of a task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, task: TaskRecord) -> Facts:
        """Everything that may explain it."""
        parameters = {
            "id": task.id,
            "queue": task.queue,
            "type": task.type,
            "worker": task.worker,
            "limit": _COUNTED if task.status == TaskStatus.QUEUED else 0,
        }
        async with self._database.read() as connection:
            row = await connection.one(_FACTS, parameters)
        return Facts(**dict(row))


# A doorbell is due a few seconds after it was put there, where somebody was about to ring it directly.
_FACTS: Final = text("""
    WITH live AS (
        SELECT w.drain_requested AS draining, w.queues::jsonb ? :queue AS takes,
               CAST(:type AS text) = ANY(w.types) AS knows
        FROM workers w
        WHERE w.heartbeat_at > now() - make_interval(secs => w.stale_after_s) AND NOT w.stopping
    ), crowd AS (
        SELECT count(*) AS live_workers,
               count(*) FILTER (WHERE takes AND NOT draining) AS consumers,
               count(*) FILTER (WHERE takes AND draining) AS draining,
               count(*) FILTER (WHERE takes AND NOT draining AND knows) AS knowing,
               count(*) FILTER (WHERE NOT (takes AND NOT draining) AND knows) AS knowing_elsewhere
        FROM live
    ), older AS (
        SELECT count(*) AS number, count(*) FILTER (WHERE priority = 'high') AS high FROM (
            SELECT t.priority FROM tasks t WHERE t.status = 'queued' AND t.queue = :queue AND t.id < :id
            LIMIT :limit) AS counted
    ), younger AS (
        SELECT count(*) FILTER (WHERE priority = 'high') AS high FROM (
            SELECT t.priority FROM tasks t WHERE t.status = 'queued' AND t.queue = :queue AND t.id > :id
            LIMIT :limit) AS counted
    )
    SELECT now() AS now,
           coalesce(q.paused, false) AS paused,
           q.paused_at,
           c.live_workers, c.consumers, c.draining, c.knowing, c.knowing_elsewhere,
           o.number AS older, o.high AS older_high, y.high AS younger_high,
           (SELECT min(least(b.due_at, now())) FROM outbox b WHERE b.task_id = :id) AS in_outbox_since,
           w.heartbeat_at AS heartbeat,
           CAST(:worker AS text) IS NOT NULL
               AND coalesce(w.heartbeat_at < now() - make_interval(secs => w.stale_after_s), true) AS worker_silent
    FROM crowd c CROSS JOIN older o CROSS JOIN younger y
    LEFT JOIN queues q ON q.name = :queue
    LEFT JOIN workers w ON w.id = :worker""")
