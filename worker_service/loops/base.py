"""What all loops share: rounds, pauses, and an end."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from random import Random
from typing import Final

import structlog

from shared.errors import BrokerUnavailableError, DatabaseUnavailableError

log = structlog.get_logger(__name__)

#: Seconds of the longest pause after rounds that failed.
_MAX_BACKOFF_S: Final = 3.0


class PeriodicLoop(ABC):
    """Calls `run_once` again and again; subclasses say what one round does.

    Any number of workers may run the same loop: a round must be safe to run twice at the same time, which the
    database sees to (row locks, unique keys), not a leader.

    Args:
        interval_s: Longest pause between two rounds, in seconds. A round that moved something is followed by
            the next at once.
    """

    def __init__(self, *, interval_s: float, random: Random | None = None) -> None:
        self._interval_s = interval_s
        self._random = random or Random()
        self._stopping = asyncio.Event()
        self._failures = 0

    @property
    def name(self) -> str:
        """The word for this loop in logs."""
        return type(self).__name__.lower()

    @abstractmethod
    async def run_once(self) -> int:
        """Do one round and return how many rows it moved."""

    def stop(self) -> None:
        """Let the round in progress finish, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Repeat until `stop`. A failed round is logged, once for a row of them, and does not end the loop."""
        while not self._stopping.is_set():
            moved = await self._run_round()
            if not moved:
                await self._pause()

    async def _run_round(self) -> int:
        try:
            moved = await self.run_once()
        except (DatabaseUnavailableError, BrokerUnavailableError) as error:
            if self._failures == 0:
                log.warning("round_failed", loop=self.name, reason=str(error))
            self._failures += 1
            return 0
        except Exception:
            if self._failures == 0:
                log.exception("round_failed", loop=self.name)
            self._failures += 1
            return 0
        self._failures = 0
        return moved

    async def _pause(self) -> None:
        # Jitter, so that workers started together do not poll together.
        longest_s = min(self._interval_s * 2 ** min(self._failures, 10), max(_MAX_BACKOFF_S, self._interval_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s * self._random.uniform(0.5, 1.0)):
                await self._stopping.wait()
