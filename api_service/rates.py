"""How many requests a caller may make: a token bucket for each, in the memory of this process."""

import math
import time
from collections.abc import Callable
from typing import Final

#: Buckets that are kept before those that are full again are thrown away.
_MAX_BUCKETS: Final = 10_000


class Buckets:
    """Counts requests. Every process counts for itself: N replicas let through up to N times as many.

    A bucket holds what a minute allows, so that much may come at once; it fills up evenly.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Of each caller: the tokens left, at which moment, and tokens per second.
        self._buckets: dict[str, tuple[float, float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, caller: str, per_minute: float) -> float:
        """Take a token; returns 0, or the seconds until there is one, and takes none then."""
        now, per_s = self._clock(), per_minute / 60
        left, since, _ = self._buckets.get(caller, (math.inf, now, per_s))
        tokens = min(_capacity(per_s), left + (now - since) * per_s)
        enough = tokens >= 1
        self._keep(caller, (tokens - enough, now, per_s))
        return 0.0 if enough else (1 - tokens) / per_s

    def _keep(self, caller: str, bucket: tuple[float, float, float]) -> None:
        if caller not in self._buckets and len(self._buckets) >= _MAX_BUCKETS:
            self._forget_full(bucket[1])
        self._buckets[caller] = bucket

    def _forget_full(self, now: float) -> None:
        """Forget the callers who were not here for so long that they count as new; all, if those are few."""
        thirsty = {
            caller: (left, since, per_s)
            for caller, (left, since, per_s) in self._buckets.items()
            if left + (now - since) * per_s < _capacity(per_s)
        }
        self._buckets = thirsty if len(thirsty) <= _MAX_BUCKETS / 2 else {}


def _capacity(per_s: float) -> float:
    # At least one, or a limit below one a minute would let nothing through at all.
    return max(1.0, per_s * 60)
