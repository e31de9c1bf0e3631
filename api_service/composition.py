"""The services of a process of its own: PostgreSQL, RabbitMQ and Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from api_service.services import Services
from api_service.streams import Streams
from shared.artifacts import ArtifactStore
from shared.broker.rabbitmq import RabbitBroker
from shared.cache.redis import RedisCache
from shared.errors import BrokerUnavailableError, DatabaseUnavailableError, SchemaMissingError
from shared.events.redis import RedisEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.settings import ApiSettings
from shared.startup import wait_for
from shared.store.database import Database
from shared.store.store import Store

#: Seconds that a statement may take. Whoever asked is not kept waiting much longer by a PostgreSQL that hangs.
_STATEMENT_TIMEOUT_S: Final = 10.0


@asynccontextmanager
async def open_services(settings: ApiSettings) -> AsyncIterator[Services]:
    """Open everything that the API stands on, and close it at the end of the block.

    Only PostgreSQL is waited for: it is all that accepting tasks takes.

    Raises:
        NeighbourMissingError: PostgreSQL or its schema is not there in time.
        TopologyMismatchError: RabbitMQ has something of other arguments under our names.
    """
    async with AsyncExitStack() as stack:
        database = Database(
            settings.database_url, pool_size=settings.database_pool_size, statement_timeout_s=_STATEMENT_TIMEOUT_S
        )
        stack.push_async_callback(database.close)
        await _wait_for_schema(database, settings)
        cache, events = RedisCache(settings.redis_url), RedisEvents(settings.redis_url)
        for part in (cache, events):
            await part.open()
            stack.push_async_callback(part.close)
        broker = await _open_broker(settings, stack)
        store = Store(database)
        publisher = Publisher(broker, store.outbox, Pace(store.task_types))
        publisher.start()
        stack.push_async_callback(publisher.close)
        streams = Streams(events)
        streams.start()
        stack.push_async_callback(streams.close)
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


async def _wait_for_schema(database: Database, settings: ApiSettings) -> None:
    await wait_for(
        "PostgreSQL",
        settings.database_url,
        database.require_schema,
        errors=(DatabaseUnavailableError, SchemaMissingError),
        for_s=settings.startup_timeout_seconds,
    )


async def _open_broker(settings: ApiSettings, stack: AsyncExitStack) -> RabbitBroker:
    broker = RabbitBroker(settings.rabbitmq_url, queue_type=settings.broker_queue_type)
    stack.push_async_callback(broker.close)
    # Tasks are accepted without it too: their doorbells wait in the outbox. It says by itself that it is away.
    with suppress(BrokerUnavailableError):
        await broker.open()
    return broker
