"""What the routes work with, and how it is put together for a process of its own."""

from dataclasses import dataclass

from api_service.streams import Streams
from shared.artifacts import ArtifactStore
from shared.broker.base import Broker
from shared.cache.base import Cache
from shared.events.base import Events
from shared.news import News
from shared.publisher import Publisher
from shared.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the API needs, open and running. Whoever opened it closes it."""

    store: Store
    broker: Broker
    cache: Cache
    events: Events
    publisher: Publisher
    news: News
    streams: Streams
    artifacts: ArtifactStore
