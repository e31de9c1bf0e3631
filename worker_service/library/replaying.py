"""`system.replay`: runs the tasks of many dead letters again, no faster than it was told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from pydantic import BaseModel, Field

from shared.accepting.moments import Moment
from shared.domain.replay import MAX_PER_SECOND, MIN_PER_SECOND, REPLAY_EXAMPLE, REPLAY_TYPE
from shared.domain.task_type import SYSTEM_QUEUE
from shared.errors import IllegalMoveError, TaskNotFoundError, UniqueConflictError
from shared.store.dead_letters import DeadLetterFilter, Place
from shared.store.renewing import BulkReplay
from worker_service import RetryPolicy, TaskContext, task
from worker_service.system import System

#: Dead letters that are read at once.
_CHUNK: Final = 200
#: Seconds: below the week that RabbitMQ lets a message stay unacked. A replay that takes longer goes on in its next
#: attempt, with what is left.
_TIMEOUT_S: Final = 6 * 86400.0

#: PostgreSQL takes any character but NUL.
Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class Replay(BaseModel):
    """Which dead letters to replay, and how fast. What is not named may be anything."""

    queue: Word | None = None
    type: Word | None = None
    reason: Word | None = None
    before: Moment = Field(description="Those that died later stay: they may have been replayed already")
    per_second: float = Field(
        ge=MIN_PER_SECOND, le=MAX_PER_SECOND, description="Tasks queued again each second, at most"
    )

    def wanted(self) -> DeadLetterFilter:
        """The same for the store."""
        return DeadLetterFilter(queue=self.queue, type=self.type, reason=self.reason)


class Skipped(BaseModel):
    """Dead letters that were left, by the reason why."""

    unreadable: int = Field(0, description="Messages that never were tasks")
    unique_conflict: int = Field(0, description="Another open task has the same unique key")
    moved_on: int = Field(0, description="Replayed or discarded by somebody else meanwhile")


class Replayed(BaseModel):
    """What became of the dead letters."""

    matching: int
    replayed: int
    skipped: Skipped


class Pace:
    """Lets something happen so often at most. What was missed is not made up for: there are no bursts."""

    def __init__(self, per_second: float) -> None:
        self._pause_s = 1 / per_second
        self._next_at = float("-inf")

    async def turn(self) -> None:
        """Return when the next one may happen."""
        loop = asyncio.get_running_loop()
        wait_s = self._next_at - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._next_at = max(self._next_at, loop.time()) + self._pause_s


@task(
    REPLAY_TYPE,
    queue=SYSTEM_QUEUE,
    max_attempts=20,
    timeout=_TIMEOUT_S,
    retry=RetryPolicy(first_delay_s=1, max_delay_s=60),
    example=REPLAY_EXAMPLE,
)
async def replay(payload: Replay, ctx: TaskContext) -> Replayed:
    """Replay dead letters that match a filter, at a capped rate. Sent by POST /dead-letters/replay."""
    system, bulk = ctx.system, BulkReplay(ctx.task_id, payload.before)
    skipped, pace = Skipped(), Pace(payload.per_second)
    # What earlier attempts have replayed is marked, each mark in the transaction that replayed it.
    replayed = await system.store.marks.count(ctx.task_id)
    left, _ = await system.store.dead_letters.matching(payload.wanted(), before=payload.before)
    matching, seen = replayed + left, replayed
    async for place in _places(system, payload):
        if place.task_id is None:
            skipped.unreadable += 1
        else:
            await pace.turn()
            replayed += await _replay_one(system, place, bulk, skipped)
        seen += 1
        await ctx.progress(min(seen, matching), matching, f"{replayed} replayed")
    return Replayed(matching=matching, replayed=await system.store.marks.count(ctx.task_id), skipped=skipped)


async def _places(system: System, payload: Replay) -> AsyncIterator[Place]:
    letters, wanted, after = system.store.dead_letters, payload.wanted(), None
    while places := await letters.oldest(wanted, before=payload.before, limit=_CHUNK, after=after):
        for place in places:
            yield place
        after = places[-1]


async def _replay_one(system: System, place: Place, bulk: BulkReplay, skipped: Skipped) -> int:
    """1 if the task is queued again, else 0 with the reason counted."""
    assert place.task_id is not None
    task_id = place.task_id
    try:
        moved = await system.store.database.persist(lambda: system.store.lifecycle.renew(task_id, bulk=bulk))
    except UniqueConflictError:
        skipped.unique_conflict += 1
        return 0
    except (IllegalMoveError, TaskNotFoundError):
        skipped.moved_on += 1
        return 0
    system.publisher.offer(moved.rings)
    await system.news.tell(moved.tasks)
    return 1
