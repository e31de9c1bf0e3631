"""Any interleaving of moves, by anybody, holds to the table of moves and loses nothing.

A seeded play of clients, loops and workers on a few tasks: every move is made with arguments that may be right,
stale or wrong, several at the same moment, some repeated as if their answers were lost. After each step the rows
are held against what they were before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest

from shared.domain.message import Due
from shared.domain.outcome import Failure, Outcome
from shared.domain.status import FINAL, MOVES, TaskStatus
from shared.domain.task import Accepted, NewTask, TaskRecord, UniqueKey
from shared.errors import IllegalMoveError, TaskNotFoundError, UniqueConflictError
from shared.store.finishing import Ending, Finished
from shared.store.lifecycle import Progress
from shared.store.rows import Moved
from shared.store.store import Store
from shared.store.submissions import Born
from tests.builders import TYPE, execute, finish, held, new_task, steady

S = TaskStatus
WORKERS: Final = ("a", "b", "c")
KEYS: Final = (b"red", b"blue")
STEPS: Final = 60
SEEDS: Final = range(8)

#: What the moves may raise, and nothing else.
DOCUMENTED: Final = (IllegalMoveError, TaskNotFoundError, UniqueConflictError)

#: One move away, or two within one step of several moves, and so on: the reachable pairs of statuses.
ALLOWED: Final = {(source, target) for move in MOVES.values() for source in move.sources for target in move.targets}

BOOM: Final = Failure("OSError", "boom")
OUTCOMES: Final = (
    Outcome(S.SUCCEEDED, result="1"),
    Outcome(S.FAILED, failure=BOOM),
    Outcome(S.RETRYING, failure=BOOM, delay_s=0.0),
    Outcome(S.RETRYING, failure=BOOM, delay_s=3600.0),
    Outcome(S.CANCELLED),
    Outcome(S.QUEUED, returns_attempt=True),
)


@dataclass
class Play:
    """The tasks of one play and what was seen of them."""

    store: Store
    random: Random
    tasks: dict[UUID, NewTask] = field(default_factory=dict)
    handed_out: set[Due] = field(default_factory=set)
    lost: set[Due] = field(default_factory=set)
    claimed: dict[Due, list[str]] = field(default_factory=dict)
    before: dict[UUID, TaskRecord] = field(default_factory=dict)
    #: Whether one move is made at a time.
    alone: bool = False

    # Moves ..........................................................................

    def some_move(self) -> Callable[[], Awaitable[None]]:
        """A move by somebody, with arguments that may be anything."""
        moves = {
            self.submit: 3,
            self.ring: 8,
            self.claim: 10,
            self.finish: 12,
            self.release: 4,
            self.cancel: 2,
            self.renew: 3,
            self.expire: 1,
            self.be_late: 1,
            self.lose_worker: 2,
            self.progress: 2,
            self.lose_doorbells: 2,
            self.reconcile: 3,
        }
        [move] = self.random.choices(list(moves), weights=list(moves.values()))
        return move

    async def submit(self) -> None:
        key = self.random.choice([None, None, *KEYS])
        task = new_task(
            max_attempts=self.random.randint(1, 3),
            delay_s=self.random.choice([None, None, 0.0, 3600.0]),
            expires_in_s=self.random.choice([None, None, 3600.0]),
            unique=key and UniqueKey(key),
        )
        for _ in range(self.random.choice([1, 1, 2])):  # the second time as if the first answer was lost
            born = await self.store.submissions.accept([task])
            assert isinstance(born, Born)
            [answer] = born.answers
            assert isinstance(answer, Accepted)
            if answer.duplicate:
                assert key is not None
                assert answer.task_id in self.tasks
            else:
                self.tasks[task.id] = task

    async def ring(self) -> None:
        """Publish what stands in the outbox: from then on anybody may have the message, again and again."""
        await execute(self.store, "UPDATE outbox SET due_at = now()")
        async with self.store.outbox.take_due(self.random.randint(1, 5)) as batch:
            self.handed_out |= {ring.due for ring in batch.rings}
            if self.random.random() < 0.8:  # else the relay dies after it has published
                await batch.rung(batch.rings)

    async def lose_doorbells(self) -> None:
        """The broker loses everything; what it had may still be in some worker's hands."""
        if self.handed_out and self.random.random() < 0.5:
            lost = self.random.sample(sorted(self.handed_out), k=len(self.handed_out) // 2)
            self.handed_out -= set(lost)
            self.lost |= set(lost)

    async def reconcile(self) -> None:
        await self.store.outbox.ring_again("default", older_than_s=0, limit=100)

    async def claim(self) -> None:
        messages = [*self.random.choices(sorted(self.handed_out) or [self.some_due()], k=3), self.some_due()]
        worker = self.random.choice(WORKERS)
        types = [TYPE] if self.random.random() < 0.9 else ["another.type"]
        for _ in range(self.random.choice([1, 1, 1, 2])):
            claimed = await self.store.lifecycle.claim(messages, worker=worker, types=types)
            for task in claimed:
                due = Due(task.id, task.attempt)
                assert due in messages
                assert (task.status, task.worker) == (S.RUNNING, worker)
                self.claimed.setdefault(due, []).append(worker)

    async def finish(self) -> None:
        outcomes = [self.random.choice(OUTCOMES) for _ in range(3)]
        endings = [Ending(await held(self.store, *self.some_attempt()), outcome) for outcome in outcomes]
        endings = list({ending.task.id: ending for ending in endings}.values())
        worker = self.random.choice(WORKERS)
        for repeated in range(self.random.choice([1, 1, 2])):
            finished = await self.store.lifecycle.finish(endings, worker=worker)
            assert isinstance(finished, Finished)
            known = {task.id for task in finished.tasks}
            assert known.isdisjoint(finished.refused)
            assert known | set(finished.refused) == {ending.task.id for ending in endings}
            # Meanwhile somebody else may have given the attempt to this worker.
            assert not (self.alone and repeated and finished.rings)

    async def progress(self) -> None:
        task_id, attempt = self.some_attempt()
        await self.store.lifecycle.report_progress([Progress(task_id, attempt, "{}")], worker="a")

    async def release(self) -> None:
        self.require_moved(await self.store.lifecycle.release(self.random.randint(1, 3)))

    async def expire(self) -> None:
        self.require_moved(await self.store.lifecycle.expire(self.random.randint(1, 3)))

    async def lose_worker(self) -> None:
        """A worker leaves without a word; its tasks are rescued, and it may come back and go on."""
        lost = self.random.choice(WORKERS)
        await execute(self.store, "DELETE FROM workers WHERE id = :id", id=lost)
        self.require_moved(await self.store.lifecycle.rescue(10, rescuer=self.random.choice(WORKERS)))
        await steady(self.store, lost)

    async def cancel(self) -> None:
        await self.store.lifecycle.cancel(self.some_task())

    async def renew(self) -> None:
        await self.store.lifecycle.renew(self.some_task())

    async def be_late(self) -> None:
        """Time passes for one task: what it waits for has come, and its expiry too."""
        await execute(
            self.store,
            "UPDATE tasks SET run_at = run_at - make_interval(hours => 2),"
            " expires_at = expires_at - make_interval(hours => 2) WHERE id = :id",
            id=self.some_task(),
        )

    # Arguments ......................................................................

    def some_task(self) -> UUID:
        return self.random.choice(sorted(self.tasks) or [new_task().id])

    def some_due(self) -> Due:
        task_id = self.some_task()
        known = self.before.get(task_id)
        return Due(task_id, max(1, (known.attempt if known else 0) + self.random.randint(-1, 2)))

    def some_attempt(self) -> tuple[UUID, int]:
        if self.claimed and self.random.random() < 0.8:
            due = self.random.choice(list(self.claimed)[-6:])
            return due.task_id, due.attempt
        return tuple(self.some_due())  # type: ignore[return-value]

    # What must hold .................................................................

    @staticmethod
    def require_moved(moved: Moved) -> None:
        queued = {task.id: task.attempt + 1 for task in moved.tasks if task.status == S.QUEUED}
        assert {ring.task_id: ring.attempt for ring in moved.rings} == queued

    async def look(self) -> None:
        """Hold every row against what it was before this step."""
        for task_id in self.tasks:
            after = await self.store.tasks.get(task_id)
            if before := self.before.get(task_id):
                self.require_legal(before, after)
                if self.alone:
                    self.require_one_move(before, after)
            self.require_sound(after)
            self.before[task_id] = after
        await self.require_doorbells()
        await self.require_dead_letters()
        await self.require_keys()

    @staticmethod
    def require_legal(before: TaskRecord, after: TaskRecord) -> None:
        assert after.version >= before.version
        changed = any(getattr(before, name) != getattr(after, name) for name in ("status", "attempt", "worker"))
        assert not changed or after.version > before.version
        assert after.errors[: len(before.errors)] == before.errors
        if before.status in FINAL and after.status != before.status:
            assert before.status != S.SUCCEEDED, "a success has changed"
            assert after.attempts_before >= before.attempt, "a final status changed without a renewal"

    @staticmethod
    def require_one_move(before: TaskRecord, after: TaskRecord) -> None:
        if before.status != after.status:
            assert (before.status, after.status) in ALLOWED
        match before.status, after.status:
            case S.QUEUED, S.RUNNING:
                assert after.attempt == before.attempt + 1
            case S.RUNNING, S.QUEUED if after.worker is None:  # rescued
                assert after.attempt == before.attempt
                assert after.attempts_used < after.max_attempts
            case S.RUNNING, S.QUEUED | S.CANCELLED:
                assert after.attempt in {before.attempt, before.attempt - 1}
            case _:
                assert after.attempt == before.attempt

    @staticmethod
    def require_sound(task: TaskRecord) -> None:
        assert task.attempts_used >= (1 if task.status == S.RUNNING else 0)
        assert (task.finished_at is not None) == (task.status in FINAL)
        assert (task.result is not None) == (task.status == S.SUCCEEDED)
        assert task.status != S.RUNNING or task.worker in WORKERS
        assert not (task.cancel_requested and task.status in {S.QUEUED, S.RETRYING, S.SCHEDULED})
        assert task.status != S.RETRYING or task.run_at is not None

    async def require_doorbells(self) -> None:
        """Every queued task has the doorbell of its next attempt in the outbox, or the broker was given it."""
        rows = await execute(self.store, "SELECT task_id, attempt FROM outbox")
        rung = {Due(row.task_id, row.attempt) for row in rows} | self.handed_out | self.lost
        waiting = {Due(task.id, task.attempt + 1) for task in self.before.values() if task.status == S.QUEUED}
        assert waiting <= rung

    async def require_dead_letters(self) -> None:
        """The dead letters are the failed tasks."""
        letters = {row.id for row in await execute(self.store, "SELECT id FROM dead_letters")}
        assert letters == {task.id for task in self.before.values() if task.status == S.FAILED}

    async def require_keys(self) -> None:
        """A key has one open task, and each open task holds its key."""
        open_tasks = [task for task in self.before.values() if task.unique_key and task.status not in FINAL]
        assert len({task.unique_key for task in open_tasks}) == len(open_tasks)
        rows = await execute(self.store, "SELECT key, task_id FROM task_keys WHERE open")
        assert {(row.key, row.task_id) for row in rows} == {(task.unique_key, task.id) for task in open_tasks}


async def made(moves: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Make the moves at the same moment; they may raise what is documented and nothing else."""
    for result in await asyncio.gather(*(move() for move in moves), return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, DOCUMENTED):
            raise result


async def begun(store: Store, seed: int, *, alone: bool) -> Play:
    play = Play(store, Random(seed), alone=alone)
    for worker in WORKERS:
        await steady(store, worker)
    for _ in range(4):
        await play.submit()
    await play.look()
    return play


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_order_of_moves_keeps_to_the_table(store: Store, seed: int) -> None:
    play = await begun(store, seed, alone=True)

    for _ in range(STEPS):
        await made([play.some_move()])
        await play.look()


@pytest.mark.parametrize("seed", SEEDS)
async def test_moves_at_the_same_moment_keep_to_the_table(store: Store, seed: int) -> None:
    play = await begun(store, 1000 + seed, alone=False)

    for _ in range(STEPS // 3):
        await made([play.some_move() for _ in range(6)])
        await play.look()


@pytest.mark.parametrize("seed", SEEDS)
async def test_of_all_who_end_an_attempt_at_once_one_is_heard(store: Store, seed: int) -> None:
    random = Random(seed)
    task = new_task()
    await store.submissions.accept([task])
    claims = await asyncio.gather(
        *(store.lifecycle.claim([Due(task.id, 1)], worker=worker, types=[TYPE]) for worker in WORKERS)
    )
    [owner] = [worker for worker, claimed in zip(WORKERS, claims, strict=True) if claimed]
    tries: list[tuple[str, Outcome]] = [(random.choice(WORKERS), random.choice(OUTCOMES[:3])) for _ in range(6)]
    tries.append((owner, OUTCOMES[0]))

    results: list[Any] = await asyncio.gather(
        *(finish(store, task.id, outcome, worker=worker) for worker, outcome in tries)
    )

    for (worker, _), finished in zip(tries, results, strict=True):
        assert finished.refused == ([] if worker == owner else [task.id])
    record = await store.tasks.get(task.id)
    assert record.version == 3
    assert len(record.errors) <= 1
