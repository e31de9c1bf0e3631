"""What Taskmill's own tasks may reach that handlers of applications can't."""

from dataclasses import dataclass

from shared.broker.base import Broker
from shared.news import News
from shared.publisher import Publisher
from shared.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The worker's own services, open and running. For the built-in `async def` handlers alone: see `ctx.system`."""

    store: Store
    broker: Broker
    publisher: Publisher
    news: News
