"""Asks every part of a deployment at once. What does not answer is a finding like any other."""

import asyncio
import platform
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import structlog

from api_service.diagnosing.broker import about_broker
from api_service.diagnosing.database import about_connections, about_database, about_outbox
from api_service.diagnosing.finding import Finding, away
from api_service.diagnosing.stores import ArtifactFacts, about_artifacts, about_cache
from api_service.diagnosing.workers import about_prefetch, about_queues, about_types, about_workers
from api_service.services import Services
from shared.artifacts import ArtifactStore
from shared.broker.base import BrokerFacts
from shared.cache.base import CacheFacts
from shared.errors import TaskmillError
from shared.store.diagnostics import DatabaseFacts
from shared.store.queues import QueueFigures
from shared.store.workers import WorkerView
from shared.version import VERSION

log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Seconds that one part may take to answer.
_ANSWER_WITHIN_S: Final = 6.0
#: Queues that the broker is asked about, one after the other.
_MAX_QUEUES: Final = 50


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """What a part has told.

    Attributes:
        facts: None where it did not answer.
        reason: Why it did not.
        clock: This host's, in seconds since 1970, when it had answered.
    """

    facts: T | None
    reason: str
    clock: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that could be found out."""

    database: Told[DatabaseFacts]
    queues: Told[list[QueueFigures]]
    workers: Told[list[WorkerView]]
    broker: Told[BrokerFacts]
    cache: Told[CacheFacts]
    artifacts: Told[ArtifactFacts]
    pool_size: int

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "clock": time.time(),
            "versions": self._versions(),
            "pool_size": self.pool_size,
            "postgresql": _document(self.database),
            "broker": _document(self.broker),
            "cache": _document(self.cache),
            "artifacts": _document(self.artifacts),
            "workers": dict(Counter(worker.version for worker in self.workers.facts or () if not worker.stale)),
        }

    def _versions(self) -> dict[str, str | None]:
        return {
            "taskmill": VERSION,
            "python": platform.python_version(),
            "postgresql": self.database.facts.version if self.database.facts else None,
            "broker": f"{self.broker.facts.product} {self.broker.facts.version}".strip()
            if self.broker.facts
            else None,
            "cache": f"{self.cache.facts.product} {self.cache.facts.version}".strip() if self.cache.facts else None,
        }


async def gather_facts(services: Services) -> Facts:
    """Ask every part; none keeps the others waiting."""
    database, workers, (queues, broker), cache, artifacts = await asyncio.gather(
        _ask(services.store.diagnostics.facts),
        _ask(services.store.workers.all),
        _ask_queues(services),
        _ask(services.cache.inspect),
        _ask(lambda: _try_artifacts(services.artifacts)),
    )
    return Facts(
        database=database,
        queues=queues,
        workers=workers,
        broker=broker,
        cache=cache,
        artifacts=artifacts,
        pool_size=services.store.database.pool_size,
    )


def diagnose(facts: Facts) -> Iterator[Finding]:
    """What the facts mean, the servers first."""
    yield Finding("taskmill", "ok", f"version {VERSION} on Python {platform.python_version()}")
    yield from _about_database(facts)
    yield from _about_broker(facts)
    if facts.cache.facts is None:
        yield away("redis", facts.cache.reason, "start it, or correct REDIS_URL; all works without it, slower")
    else:
        yield from about_cache(facts.cache.facts, clock=facts.cache.clock)
    if facts.artifacts.facts is None:
        yield away("artifacts", facts.artifacts.reason, "let ARTIFACTS_URL name a place that API and workers share")
    else:
        yield from about_artifacts(facts.artifacts.facts)
    if facts.workers.facts is not None:
        yield from about_workers(facts.workers.facts, version=VERSION)
        yield from about_prefetch(facts.workers.facts)
    if facts.queues.facts is not None:
        yield from about_queues(facts.queues.facts)
    if facts.database.facts is not None:
        yield from about_types(facts.database.facts.homeless)


def _about_database(facts: Facts) -> Iterator[Finding]:
    told = facts.database
    if told.facts is None:
        yield away("postgresql", told.reason, "start it, or correct DATABASE_URL; until then nothing is accepted")
        return
    live = [worker for worker in facts.workers.facts or () if not worker.stale]
    yield from about_database(told.facts, clock=told.clock)
    yield from about_connections(told.facts, pool_size=facts.pool_size, workers=len(live))
    yield about_outbox(told.facts)


def _about_broker(facts: Facts) -> Iterator[Finding]:
    if facts.broker.facts is None:
        yield away("rabbitmq", facts.broker.reason, "start it, or correct RABBITMQ_URL; tasks are accepted, and wait")
        return
    yield from about_broker(facts.broker.facts, _consuming(facts))


def _consuming(facts: Facts) -> Mapping[str, int]:
    """How many workers say that they take from each queue: nobody takes from one that is paused."""
    paused = {queue.name for queue in facts.queues.facts or () if queue.paused}
    taking = [
        worker
        for worker in facts.workers.facts or ()
        if worker.healthy and not (worker.stale or worker.stopping or worker.draining)
    ]
    return Counter(name for worker in taking for name in worker.queues if name not in paused)


# Asking ..............................................................................


async def _ask(question: Callable[[], Awaitable[T]]) -> Told[T]:
    facts, reason = None, ""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            facts = await question()
    except TimeoutError:
        reason = f"no answer within {_ANSWER_WITHIN_S:g} s"
    except TaskmillError as error:
        reason = str(error)
    except Exception:
        log.exception("diagnosis_failed")
        reason = "an error of ours, which the log has"
    return Told(facts, reason, time.time())


async def _ask_queues(services: Services) -> tuple[Told[list[QueueFigures]], Told[BrokerFacts]]:
    queues = await _ask(services.store.queues.figures)
    names: Sequence[str] = [queue.name for queue in queues.facts or ()][:_MAX_QUEUES]
    return queues, await _ask(lambda: services.broker.inspect(names))


async def _try_artifacts(store: ArtifactStore) -> ArtifactFacts:
    """Write a file and remove it again.

    Raises:
        ArtifactsUnavailableError: It could not be written.
    """
    key = f"diagnostics/{uuid4()}"
    await store.receive(key, _content())
    await store.delete([key])
    folder = store.folder
    free_bytes = None if folder is None else (await asyncio.to_thread(shutil.disk_usage, folder)).free
    parts = urlsplit(store.url)
    return ArtifactFacts(place=f"{parts.scheme}://{parts.hostname or ''}{parts.path}", free_bytes=free_bytes)


async def _content() -> AsyncIterator[bytes]:
    yield b"written by GET /diagnostics"


def _product(facts: BrokerFacts | CacheFacts | None) -> str | None:
    return None if facts is None else f"{facts.product} {facts.version}".strip()


def _document(told: Told[Any]) -> dict[str, Any]:
    return {"away": told.reason} if told.facts is None else asdict(told.facts)
