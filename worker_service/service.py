"""The worker as a service of its own: real servers, settings, and signals."""

import asyncio
import os
import signal
import sys
from typing import Final, Protocol

import structlog

from shared.artifacts import ArtifactStore
from shared.broker.rabbitmq import RabbitBroker
from shared.cache.redis import RedisCache
from shared.domain.mail import parse_mail_server, parse_mailbox
from shared.domain.signing import parse_secrets
from shared.domain.task_type import SYSTEM_QUEUE
from shared.errors import BrokerUnavailableError, DatabaseUnavailableError, SchemaMissingError
from shared.events.redis import RedisEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.settings import WorkerSettings, parse_queues
from shared.startup import unless, wait_for
from shared.store.database import Database
from shared.store.store import Store
from worker_service.library import BUILT_IN
from worker_service.registry import import_task_modules, registry
from worker_service.supervisor import Supervisor, WorkerOptions
from worker_service.system import Outbound

log = structlog.get_logger(__name__)

#: Tasks of `SYSTEM_QUEUE` that a worker runs at once unless WORKER_QUEUES names that queue. Most of them are webhooks
#: that wait for a receiver: slow ones must not hold up the others.
_SYSTEM_CONCURRENCY: Final = 50


def worker_options(settings: WorkerSettings, database_url: str) -> WorkerOptions:
    """The plain values that a supervisor needs."""
    modules = [name.strip() for name in settings.task_modules.split(",") if name.strip()]
    return WorkerOptions(
        database_url=database_url,
        queues={SYSTEM_QUEUE: _SYSTEM_CONCURRENCY} | parse_queues(settings.worker_queues),
        modules=(*BUILT_IN, *modules),
        processes=settings.worker_processes,
        # With longer pauses no worker's heartbeats would count as steady, and nobody would rescue anything.
        heartbeat_s=min(settings.worker_heartbeat_seconds, settings.worker_stale_seconds / 4),
        stale_s=settings.worker_stale_seconds,
        grace_s=settings.shutdown_grace_seconds,
        default_timeout_s=settings.task_timeout,
        reconcile_after_s=settings.reconcile_after_seconds,
        retention_days=settings.retention_days,
        built_in_schedules=settings.built_in_schedules == "on",
        log_format=settings.log_format,
        log_level=settings.log_level,
        outbound=_outbound(settings),
    )


def _outbound(settings: WorkerSettings) -> Outbound:
    return Outbound(
        webhook_keys=parse_secrets(settings.webhook_secret),
        private_callbacks=settings.webhook_allow_private == "on",
        mail_server=parse_mail_server(settings.smtp_url) if settings.smtp_url else None,
        mail_from=parse_mailbox(settings.smtp_from) if settings.smtp_from else None,
    )


class WorkerService:
    """Everything of one worker process.

    Raises (from `run`):
        TaskDefinitionError: A task module can't be imported.
        NeighbourMissingError: PostgreSQL or its schema did not get ready in time.
        TopologyMismatchError: The broker has our queues with other arguments.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._supervisor: Supervisor | None = None

    def has_stuck_handlers(self) -> bool:
        """Whether a handler is left that nobody can stop."""
        return self._supervisor is not None and self._supervisor.has_stuck_handlers()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; a second signal hands back what runs without waiting."""
        settings = self._settings
        options = worker_options(settings, settings.database_url)
        import_task_modules(options.modules)
        if not options.outbound.webhook_keys:
            log.warning("webhooks_unsigned", remedy="set WEBHOOK_SECRET, so that receivers can tell who calls them")
        stop, hurry = stop_on_signals()

        database = Database(settings.database_url, pool_size=settings.database_pool_size)
        broker = RabbitBroker(settings.rabbitmq_url, queue_type=settings.broker_queue_type)
        cache, events = RedisCache(settings.redis_url), RedisEvents(settings.redis_url)
        store = Store(database)
        news = News(cache, events, result_ttl_s=settings.result_ttl, failure_ttl_s=settings.failure_ttl)
        publisher = Publisher(broker, store.outbox, Pace(store.task_types))
        try:
            ready = wait_for(
                "PostgreSQL",
                settings.database_url,
                database.require_schema,
                errors=(DatabaseUnavailableError, SchemaMissingError),
                for_s=settings.startup_timeout_seconds,
            )
            if not await unless(stop, ready):
                return
            await open_broker(broker, list(options.queues))
            await cache.open()
            await events.open()
            publisher.start()
            self._supervisor = Supervisor(
                options,
                store=store,
                broker=broker,
                events=events,
                news=news,
                publisher=publisher,
                artifacts=ArtifactStore(settings.artifacts_at),
                registry=registry,
            )
            await self._supervisor.run(stop, hurry)
        finally:
            await publisher.close()
            await broker.close()
            await events.close()
            await cache.close()
            await database.close()


async def open_broker(broker: RabbitBroker, queues: list[str]) -> None:
    """Open the broker; one that is away now is used when it comes, since tasks are safe without it."""
    try:
        await broker.open(queues)
    except BrokerUnavailableError as error:
        log.warning("started_without_broker", reason=str(error))


def stop_on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Two events: the first SIGTERM or SIGINT sets `stop`, the second `hurry`."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, on_signal)
    return stop, hurry


class Service(Protocol):
    """What runs until it is told to stop, handlers and all."""

    async def run(self) -> None:
        """Run until it is told to stop."""

    def has_stuck_handlers(self) -> bool:
        """Whether a handler is left that nobody can stop."""


async def run_past_stuck_handlers(service: Service) -> None:
    """Run a service, and end the process there and then if handlers are left that nobody can stop.

    Their tasks have been handed back. The end of the event loop would wait for a coroutine that swallows every
    cancellation, and that of the interpreter for its threads.
    """
    await service.run()
    if service.has_stuck_handlers():
        log.warning("ended_past_stuck_handlers")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
