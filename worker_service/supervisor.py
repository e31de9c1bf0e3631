"""Puts a worker together, runs it, and stops it so that a deploy costs no task anything."""

import asyncio
import os
import socket
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import structlog

from shared.artifacts import ArtifactStore
from shared.broker.base import Broker
from shared.domain.task_type import TaskTypeInfo
from shared.errors import DatabaseUnavailableError
from shared.events.base import Events
from shared.news import News
from shared.publisher import Publisher
from shared.startup import settle_heap, unless
from shared.store.store import Store
from shared.store.workers import Orders, WorkerInfo
from shared.version import VERSION
from worker_service.collector import Collector
from worker_service.consumer import QueueConsumer
from worker_service.executor import STOP_GRACE_S, Executor
from worker_service.files import WorkerFiles
from worker_service.finding import ArtifactFinder, Lookups
from worker_service.finisher import Finisher
from worker_service.heartbeat import Heartbeat
from worker_service.library.schedules import BUILT_IN_SCHEDULES
from worker_service.loops.base import PeriodicLoop
from worker_service.loops.cron import Cron
from worker_service.loops.expire import Expire
from worker_service.loops.logs import TellLogs
from worker_service.loops.measure import Measure
from worker_service.loops.partitions import Partitions
from worker_service.loops.progress import ReportProgress
from worker_service.loops.reconcile import Reconcile
from worker_service.loops.relay import Relay
from worker_service.loops.release import Release
from worker_service.loops.rescue import Rescue
from worker_service.loops.retention import Retention
from worker_service.process_pool import HandlerProcesses, Setup
from worker_service.registry import Registry
from worker_service.running import StopReason
from worker_service.scratch import Scratch
from worker_service.submitting import HandlerSubmissions
from worker_service.system import Outbound, System
from worker_service.task_log import TaskLogs

log = structlog.get_logger(__name__)

#: Seconds that writing outcomes may take at the end; what is not written by then is rescued by others.
_DRAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Plain values from the settings; durations in seconds."""

    database_url: str
    queues: Mapping[str, int]
    modules: Sequence[str]
    processes: int
    heartbeat_s: float
    stale_s: float
    grace_s: float
    default_timeout_s: float
    reconcile_after_s: float
    retention_days: float
    built_in_schedules: bool
    log_format: str
    log_level: str
    outbound: Outbound = Outbound()


class Supervisor:
    """One worker. Call `run` once.

    Args:
        broker: Opened by the caller and closed by it after `run`, which flushes the last acks.
        publisher: Started by the caller and closed by it after `run`.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        store: Store,
        broker: Broker,
        events: Events,
        news: News,
        publisher: Publisher,
        artifacts: ArtifactStore,
        registry: Registry,
    ) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._options = options
        self._store = store
        self._events = events
        self._news = news
        self._registry = registry
        self._logs = TaskLogs(news)
        self._finisher = Finisher(store=store, logs=self._logs, publisher=publisher, worker_id=self.worker_id)
        self._artifacts = artifacts
        self._scratch = Scratch()
        finder = ArtifactFinder(store)
        self._processes = HandlerProcesses(
            options.processes or os.cpu_count() or 1,
            Setup(tuple(options.modules), options.log_format, options.log_level, self.worker_id, artifacts.url),
            on_begun=lambda *word: self._executor.begun_in_process(*word),
            on_progress=lambda *report: self._executor.progress_from_process(*report),
            on_line=lambda *line: self._executor.line_from_process(*line),
            lookups=Lookups(finder),
        )
        self._executor = Executor(
            worker_id=self.worker_id,
            processes=self._processes,
            threads=sum(options.queues.values()),
            on_report=self._finisher.add,
            submissions=HandlerSubmissions(store, publisher, private_callbacks=options.outbound.private_callbacks),
            system=System(
                store=store,
                broker=broker,
                publisher=publisher,
                news=news,
                artifacts=artifacts,
                outbound=options.outbound,
            ),
            files=WorkerFiles(artifacts, finder, self._scratch),
            logs=self._logs,
        )
        self._heartbeat = Heartbeat(
            options.database_url,
            self._info(),
            interval_s=options.heartbeat_s,
            running=lambda: len(self._executor),
            on_beat=self._on_beat,
        )
        self._consumers = [
            QueueConsumer(
                queue,
                concurrency,
                broker=broker,
                store=store,
                news=news,
                registry=registry,
                executor=self._executor,
                has_room=self._finisher.has_room,
                worker_id=self.worker_id,
                default_timeout_s=options.default_timeout_s,
            )
            for queue, concurrency in options.queues.items()
        ]
        self._collector = Collector(broker, store)
        self._loops = self._make_loops(broker, publisher, news)
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Supervisor {self.worker_id} {self._executor!r} {self._consumers!r}>"

    # Running ........................................................................

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Work until `stop` is set; then wait for what runs, or hand it back at once when `hurry` is set too."""
        try:
            if not await unless(stop, self._announce()):
                return
            await asyncio.to_thread(self._open_scratch)
            self._start_tasks()
            settle_heap()
            log.info("worker_started", worker=self.worker_id, queues=dict(self._options.queues))
            await stop.wait()
            await self._shut_down(hurry)
        finally:
            await self._heartbeat.stop()

    async def _announce(self) -> None:
        types = [self._announced(task_type.info) for task_type in self._registry.all()]
        await self._store.database.persist(lambda: self._store.task_types.announce(types))
        await self._store.database.persist(lambda: self._store.queues.name(list(self._options.queues)))
        if self._options.built_in_schedules:
            await self._store.database.persist(lambda: self._store.schedules.provide(BUILT_IN_SCHEDULES))
        await self._heartbeat.start()

    def _open_scratch(self) -> None:
        try:
            self._scratch.open()
        except OSError as error:  # only those that want a folder will miss it
            log.warning("no_folder_for_temporary_files", reason=str(error))

    def has_stuck_handlers(self) -> bool:
        """Whether a handler still runs that nobody can stop: the process must not wait for it."""
        return any(not running.handler_ended for running in self._executor)

    def _start_tasks(self) -> None:
        self._spawn(self._finisher.run(), "finisher")
        self._spawn(self._executor.watch_limits(), "limits")
        for consumer in self._consumers:
            self._spawn(consumer.run(), f"consumer-{consumer.queue}")
        for loop in self._loops:
            self._spawn(loop.run(), loop.name)
        self._spawn(self._collector.run(), "collector")
        self._spawn(self._listen_for_cancels(), "cancels")
        self._spawn(self._watch_health(), "health")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_crash)
        self._tasks.append(task)

    # Signals ........................................................................

    def _on_beat(self, orders: Orders) -> None:
        """Hold the record against what runs here: end what was cancelled, and what is no longer ours."""
        recorded = {(row.task_id, row.attempt): row.cancel_requested for row in orders.running}
        for running in self._executor:
            cancel_requested = recorded.get((running.task.id, running.task.attempt))
            if cancel_requested:
                self._executor.stop(running, StopReason.CANCEL)
            elif cancel_requested is None and running.seen_in_record:
                self._executor.stop(running, StopReason.LOST)
            running.seen_in_record = running.seen_in_record or cancel_requested is not None
        if orders.drain and not (self._heartbeat.draining or self._heartbeat.leaving):
            self._heartbeat.draining = True
            self._spawn(self._drain(), "drain")

    async def _drain(self) -> None:
        """Take nothing more. What runs goes on, and so do the loops: the process stays until it is stopped."""
        log.info("worker_draining", worker=self.worker_id, running=len(self._executor))
        await asyncio.gather(*(consumer.drain() for consumer in self._consumers))
        log.info("worker_drained", worker=self.worker_id, running=len(self._executor))

    async def _listen_for_cancels(self) -> None:
        # A signal only hurries the heartbeat: what is to be cancelled, or to drain, stands in PostgreSQL.
        async for _ in self._events.cancel_signals():
            self._heartbeat.beat_now()

    async def _watch_health(self) -> None:
        """Liveness means consuming: connected but deaf is unhealthy."""
        while True:
            await asyncio.sleep(1)
            is_consuming = all(consumer.consuming for consumer in self._consumers)
            self._heartbeat.healthy = is_consuming or self._heartbeat.draining

    # Stopping .......................................................................

    async def _shut_down(self, hurry: asyncio.Event) -> None:
        """Stop taking, wait, hand back; then stop everything else, the heartbeat last."""
        log.info("worker_stopping", running=len(self._executor), grace_s=self._options.grace_s)
        self._heartbeat.leaving = True
        self._heartbeat.beat_now()
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
        await self._wait_for_running(hurry)
        await self._hand_back()
        await self._stop_tasks()
        await self._processes.close()
        await asyncio.to_thread(self._scratch.close)
        await self._heartbeat.stop()
        await self._leave()
        log.info("worker_stopped", worker=self.worker_id)

    async def _wait_for_running(self, hurry: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace_s):
                await unless(hurry, self._executor.all_reported())

    async def _hand_back(self) -> None:
        """What still runs goes back to its queue with its attempt returned."""
        self._executor.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S + 1):
                await self._executor.all_reported()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._finisher.drained()
                await self._news.flushed()
        except TimeoutError:
            log.warning("outcomes_left_to_rescue", count=len(self._executor))

    async def _stop_tasks(self) -> None:
        for loop in self._loops:
            loop.stop()
        names = {loop.name for loop in self._loops}
        await asyncio.wait([task for task in self._tasks if task.get_name() in names], timeout=1)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(3):
                await self._store.workers.leave(self.worker_id)
        except (DatabaseUnavailableError, TimeoutError) as error:
            log.warning("worker_left_unsaid", reason=str(error))  # its heartbeats will be missed instead

    # Parts ..........................................................................

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            id=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
            queues=self._options.queues,
            types=self._registry.names(),
            stale_after_s=self._options.stale_s,
        )

    def _announced(self, info: TaskTypeInfo) -> TaskTypeInfo:
        return replace(info, timeout_s=info.timeout_s or self._options.default_timeout_s)

    def _make_loops(self, broker: Broker, publisher: Publisher, news: News) -> list[PeriodicLoop]:
        options, store = self._options, self._store
        return [
            Release(store.lifecycle, publisher=publisher, news=news),
            Expire(store.lifecycle, publisher=publisher, news=news),
            Rescue(store.lifecycle, self.worker_id, publisher=publisher, news=news),
            Relay(store.outbox, publisher),
            Cron(store.schedule_runs, publisher=publisher, news=news, built_in=options.built_in_schedules),
            Reconcile(
                store,
                broker,
                publisher,
                older_than_s=options.reconcile_after_s,
                interval_s=min(5.0, options.reconcile_after_s),
            ),
            Partitions(store.partitions, retention_days=options.retention_days),
            Retention(store, self._artifacts, days=options.retention_days),
            Measure(publisher.pace),
            ReportProgress(store.lifecycle, self._executor, news, self.worker_id),
            TellLogs(self._logs),
        ]


def _log_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("background_task_died", task=task.get_name(), exc_info=error)
