"""Taskmill in one process with nothing to install: `python -m deploy.embedded`.

API, worker and a real PostgreSQL of its own; broker, cache and event stream in memory, behind the same protocols
as the real ones. The data stays in DATA_DIR: what was queued or running when the process ended goes on when it
starts again.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import structlog
import uvloop

from api_service.app import create_app
from api_service.auth import Access
from api_service.server import Server
from api_service.services import Services
from api_service.streams import Streams
from deploy.embedded_postgres import DataFolder, EmbeddedPostgres, PostgresStartError
from deploy.embedded_secret import webhook_secret
from shared.artifacts import ArtifactStore
from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.errors import DatabaseUnavailableError, NoKeysError, TaskmillError
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.settings import EmbeddedSettings, load_or_exit
from shared.startup import require_no_arguments, wait_for
from shared.store.database import Database
from shared.store.store import Store
from shared.telemetry.logging import configure_logging
from worker_service.loops.reconcile import Reconcile
from worker_service.registry import import_task_modules, registry
from worker_service.service import run_past_stuck_handlers, stop_on_signals, worker_options
from worker_service.supervisor import Supervisor, WorkerOptions

log = structlog.get_logger(__name__)

_WELCOME: Final = """
Taskmill runs in one process; its data is in {folder}
  Swagger UI  {url}/docs
  Try it      curl -s {url}/tasks -H 'Content-Type: application/json' \\
                -d '{{"type": "demo.sleep", "payload": {{"seconds": 3}}}}'
  Stop it     Ctrl-C; a second one does not wait for what runs
"""
#: Running tasks that are taken from the last run in one statement.
_CHUNK: Final = 1_000


class _EmbeddedServer(Server):
    """The API's server; the process's signals are handled here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


class Embedded:
    """Everything of one process."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._supervisor: Supervisor | None = None

    def has_stuck_handlers(self) -> bool:
        """Whether a handler is left that nobody can stop."""
        return self._supervisor is not None and self._supervisor.has_stuck_handlers()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; a second signal hands back what runs without waiting.

        Raises:
            TaskmillError: It can't start; the message says why.
        """
        stop, hurry = stop_on_signals()
        async with AsyncExitStack() as stack:
            stack.enter_context(DataFolder(self._settings.data_dir))
            postgres = EmbeddedPostgres(self._settings.data_dir)
            try:
                url = await asyncio.to_thread(postgres.start)
            except PostgresStartError:
                if stop.is_set():  # a terminal's Ctrl-C reaches the starting PostgreSQL too
                    return
                raise
            stack.push_async_callback(asyncio.to_thread, postgres.stop)
            secret = self._settings.webhook_secret or webhook_secret(self._settings.data_dir)
            options = worker_options(self._settings.model_copy(update={"webhook_secret": secret}), url)
            import_task_modules(options.modules)
            services = await stack.enter_async_context(self._open(url))
            await self._serve(services, options, stop, hurry)

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[Services]:
        async with AsyncExitStack() as stack:
            database = Database(url, pool_size=self._settings.database_pool_size)
            stack.push_async_callback(database.close)
            await wait_for("PostgreSQL", url, database.ping, errors=(DatabaseUnavailableError,), for_s=60)
            await asyncio.to_thread(EmbeddedPostgres.migrate, url)
            broker, cache, events = MemoryBroker(), MemoryCache(), MemoryEvents()
            for part in (broker, cache, events):
                await part.open()
                stack.push_async_callback(part.close)
            store = Store(database)
            publisher = Publisher(broker, store.outbox, Pace(store.task_types))
            publisher.start()
            stack.push_async_callback(publisher.close)
            streams = Streams(events)
            streams.start()
            stack.push_async_callback(streams.close)
            settings = self._settings
            news = News(cache, events, result_ttl_s=settings.result_ttl, failure_ttl_s=settings.failure_ttl)
            yield Services(
                store=store,
                broker=broker,
                cache=cache,
                events=events,
                publisher=publisher,
                news=news,
                streams=streams,
                artifacts=ArtifactStore(settings.artifacts_at),
            )

    async def _serve(
        self, services: Services, options: WorkerOptions, stop: asyncio.Event, hurry: asyncio.Event
    ) -> None:
        access = Access.of(self._settings)
        await access.require_keys(services.store.database, self._settings.api_host)
        await _take_up_last_run(services)
        self._supervisor = Supervisor(
            options,
            store=services.store,
            broker=services.broker,
            events=services.events,
            news=services.news,
            publisher=services.publisher,
            artifacts=services.artifacts,
            registry=registry,
        )
        settings = self._settings
        app = create_app(
            services,
            max_body_bytes=settings.max_body_bytes,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            max_artifact_bytes=settings.max_artifact_bytes,
            access=access,
            private_callbacks=settings.webhook_allow_private == "on",
        )
        server = _EmbeddedServer(app, host=settings.api_host, port=settings.api_port)
        serving = asyncio.create_task(server.serve(), name="api")
        serving.add_done_callback(lambda _: stop.set())
        welcoming = asyncio.create_task(self._welcome(server), name="welcome")
        try:
            await self._supervisor.run(stop, hurry)
        finally:
            welcoming.cancel()
            server.should_exit = True
            await serving

    async def _welcome(self, server: Server) -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.05)
        print(_WELCOME.format(folder=self._settings.data_dir.resolve(), url=server.address), flush=True)


async def _take_up_last_run(services: Services) -> None:
    """What ran when the last process died is queued again, and what is queued gets its doorbells."""
    store = services.store
    await store.workers.forget_all()
    while (await store.lifecycle.rescue(_CHUNK, rescuer=None)).tasks:
        pass
    reconcile = Reconcile(store, services.broker, services.publisher, older_than_s=0, interval_s=1)
    await reconcile.run_once()


def main() -> int:
    """Run, and return the process's exit status."""
    require_no_arguments("deploy.embedded", "Runs API, worker and a PostgreSQL of its own until SIGTERM or SIGINT.")
    settings = load_or_exit(EmbeddedSettings)
    configure_logging(format_=settings.log_format, level=settings.log_level, service="taskmill")
    try:
        uvloop.run(run_past_stuck_handlers(Embedded(settings)))
    except NoKeysError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    except TaskmillError as error:
        log.critical("taskmill_failed", code=error.code, reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
