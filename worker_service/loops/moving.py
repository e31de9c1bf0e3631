"""What loops that move tasks share: after the move, ring and tell."""

from abc import abstractmethod
from random import Random

from shared.news import News
from shared.publisher import Publisher
from shared.store.rows import Moved
from worker_service.loops.base import PeriodicLoop


class MovingLoop(PeriodicLoop):
    """A loop whose round is one move of many tasks."""

    def __init__(self, *, publisher: Publisher, news: News, interval_s: float, random: Random | None = None) -> None:
        super().__init__(interval_s=interval_s, random=random)
        self._publisher = publisher
        self._news = news

    @abstractmethod
    async def move(self) -> Moved:
        """Make the move."""

    async def run_once(self) -> int:
        """Move, ring for what is queued now, tell what has changed."""
        moved = await self.move()
        self._publisher.offer(moved.rings)
        await self._news.tell(moved.tasks)
        return len(moved.tasks)
