"""How far a report is: a share of the whole for each stage, told often enough and not too often."""

import time
from typing import Final

from worker_service import SoftTimeout, TaskContext
from worker_service.library.reports.profile import Tell

#: Seconds between two reports of progress: it is stored about twice a second anyway.
_PAUSE_S: Final = 0.2


class Stages:
    """Turns the shares of stages into the progress of the task."""

    def __init__(self, ctx: TaskContext) -> None:
        self._ctx = ctx
        self._told_at = float("-inf")

    def stage(self, first: float, last: float) -> Tell:
        """What a stage calls now and then, to say how far it is and to learn that it should end.

        Args:
            first: Percent of the whole that are done when the stage begins.
            last: Percent that are done when it has ended.
        """

        def tell(share: float, message: str) -> None:
            self._require_time(message)
            now = time.monotonic()
            if now - self._told_at >= _PAUSE_S or share in (0.0, 1.0):
                self._told_at = now
                self._ctx.progress(round(first + (last - first) * min(1.0, share), 1), 100, message)

        return tell

    def _require_time(self, message: str) -> None:
        try:
            self._ctx.check_cancelled()
        except SoftTimeout:
            raise SoftTimeout(
                f"the report was not ready at its soft timeout (it was {message}):"
                " give it fewer rows, or more time by 'timeout' and 'soft_timeout'"
            ) from None
