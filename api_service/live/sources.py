"""Where open streams get their news from."""

from typing import NamedTuple

from api_service.live.lookout import Lookout
from api_service.live.missed import MissedEvents
from api_service.reading import TaskReader
from api_service.services import Services
from api_service.streams import Streams
from shared.events.base import Events


class Sources(NamedTuple):
    """What the streams of a process share."""

    streams: Streams
    events: Events
    missed: MissedEvents
    reader: TaskReader
    lookout: Lookout


def news_sources(services: Services, reader: TaskReader) -> Sources:
    """The sources over open services."""
    return Sources(
        services.streams,
        services.events,
        MissedEvents(services.events),
        reader,
        Lookout(services.streams, services.store.tasks),
    )
