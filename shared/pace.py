"""How long attempts run, by type, as all workers together have measured it."""

import asyncio
import time
from collections import defaultdict
from typing import Final

import structlog

from shared.errors import DatabaseUnavailableError
from shared.store.task_types import TaskTypes

log = structlog.get_logger(__name__)

#: Seconds after which what others have measured is read again, while somebody asks for it.
_MAX_AGE_S: Final = 2.0


class Pace:
    """Knows the mean running time of each type that was ever measured."""

    def __init__(self, types: TaskTypes) -> None:
        self._types = types
        self._means_s: dict[str, float] = {}
        self._measured: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0])
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def mean_s(self, type_: str) -> float | None:
        """The mean running time of a type in seconds; None where nobody has measured it."""
        if time.monotonic() - self._read_at > _MAX_AGE_S:
            self._read_at = time.monotonic()
            self._reading = asyncio.create_task(self._read(), name="pace")
        return self._means_s.get(type_)

    def note(self, type_: str, ran_s: float) -> None:
        """An attempt of a type has run so long here."""
        measured = self._measured[type_]
        measured[0] += 1
        measured[1] += ran_s

    async def share(self) -> int:
        """Tell the others what was measured here since the last time. Returns of how many types.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away; what was measured is forgotten.
        """
        measured, self._measured = self._measured, defaultdict(lambda: [0, 0.0])
        if measured:
            await self._types.measure({type_: sum_s / number for type_, (number, sum_s) in measured.items()})
        return len(measured)

    async def _read(self) -> None:
        try:
            self._means_s = await self._types.means()
        except DatabaseUnavailableError as error:
            log.info("pace_not_read", reason=str(error))
        except Exception:
            log.exception("pace_not_read")
