"""What the facts about workers, and about the work that waits for them, mean."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from api_service.diagnosing.finding import Finding, Level, either
from shared.store.queues import QueueFigures
from shared.store.workers import WorkerView

#: Tasks of one queue that one process, which has one core, hardly runs at once.
_MUCH_PREFETCH: Final = 500


def about_workers(workers: Sequence[WorkerView], *, version: str) -> Iterator[Finding]:
    """Who does the work. `version`: of this API."""
    live = [worker for worker in workers if not worker.stale]
    yield either(
        "workers",
        bool(live),
        f"{len(live)} live, {sum(worker.running for worker in live)} tasks in them",
        "bad",
        "start one: taskmill worker; nothing runs, and what is scheduled stays where it is",
    )
    yield from _named("stale", [worker.id for worker in workers if worker.stale], "bad", _STALE)
    yield from _named("unhealthy", [worker.id for worker in live if not worker.healthy], "bad", _UNHEALTHY)
    yield from _named("drained", [worker.id for worker in live if worker.draining], "warn", _DRAINED)
    others = sorted({worker.version for worker in live} - {version})
    if others:
        yield Finding(
            "versions",
            "warn",
            f"workers of {', '.join(others)} beside an API of {version}",
            "finish the deploy: restart what is older",
        )


_STALE: Final = "no heartbeat: their tasks are rescued; look whether host or process is gone, and start another"
_UNHEALTHY: Final = "they beat and do not consume: look at their log, and at rabbitmq here"
_DRAINED: Final = "they take nothing more; restart them when whatever they were drained for is done"


def about_prefetch(workers: Sequence[WorkerView]) -> Iterator[Finding]:
    """How many messages workers may hold: as many as they run at once, so that none is kept from an idle one."""
    live = [worker for worker in workers if not worker.stale]
    sums: Counter[str] = Counter()
    for worker in live:
        sums.update(worker.queues)
    if not sums:
        return
    hoarding = {worker.id for worker in live if max(worker.queues.values(), default=0) > _MUCH_PREFETCH}
    yield either(
        "prefetch",
        not hoarding,
        "as many as run at once: " + ", ".join(f"{queue} {number}" for queue, number in sorted(sums.items())),
        "warn",
        f"lower WORKER_QUEUES of {', '.join(sorted(hoarding)[:5])}: what one holds and has no time for, no other can"
        " take; start more workers instead",
    )


def about_queues(queues: Sequence[QueueFigures]) -> Iterator[Finding]:
    """Whether each queue that holds tasks is worked on."""
    orphaned = [queue for queue in queues if queue.ready and not queue.consumers]
    for queue in orphaned:
        yield Finding(
            "queues",
            "bad",
            f"{queue.name} holds {queue.ready} tasks, and no worker takes from it",
            f"start one: taskmill worker --queues {queue.name}:4",
        )
    for queue in queues:
        if queue.paused:
            text = f"{queue.name} is paused, with {queue.ready} tasks in it"
            yield Finding("queues", "warn", text, f"let it go on: taskmill resume {queue.name}")
    if not orphaned:
        yield Finding("queues", "ok", "each queue that holds tasks has a worker")


def about_types(homeless: Mapping[str, int]) -> Iterator[Finding]:
    """Whether each queued task has a worker that knows its type."""
    for name, number in homeless.items():
        yield Finding(
            "types",
            "bad",
            f"{number} queued tasks are of type {name}, which no live worker knows",
            "name its module in a worker's TASK_MODULES, or cancel them",
        )


def _named(what: str, names: Sequence[str], level: Level, remedy: str) -> Iterator[Finding]:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield Finding("workers", level, f"{what}: {', '.join(names[:5])}{more}", remedy)
