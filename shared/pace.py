"""How long attempts run, by type, as all workers together have measured it."""

import time
from collections import defaultdict
from typing import Final

import structlog

from shared.errors import DatabaseUnavailableError
from shared.store.task_types import TaskTypes

log = structlog.get_logger(__name__)

#: Seconds after which what others have measured is read again.
_MAX_AGE_S: Final = 2.0


class Pace:
    """Knows the mean running time of each type that was ever measured."""

    def __init__(self, types: TaskTypes) -> None:
        self._types = types
        self._means_s: dict[str, float] = {}
        self._measured: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0])
        self._read_at = float("-inf")

    def mean_s(self, type_: str) -> float | None:
        """The mean running time of a type in seconds; None where nobody has measured it."""
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

    async def refresh(self) -> None:
        """Learn what all workers have measured, unless that was read a moment ago; what is known stays known."""
        if time.monotonic() - self._read_at < _MAX_AGE_S:
            return
        self._read_at = time.monotonic()
        try:
            self._means_s = await self._types.means()
        except DatabaseUnavailableError as error:
            log.info("pace_not_read", reason=str(error))
        except Exception:
            log.exception("pace_not_read")
