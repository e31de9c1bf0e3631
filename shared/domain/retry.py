"""When a failed attempt is tried again."""

from dataclasses import dataclass
from random import Random
from typing import Final

# 2**30 times any sane first delay is past every cap, and still far from float overflow.
_MAX_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with a cap and jitter.

    Attributes:
        first_delay_s: Wait after the first failed attempt, in seconds.
        max_delay_s: No wait is longer than this. Seconds.
        jitter: Share of the wait that is random, from 0.0 (none) to 1.0 (all of it).
    """

    first_delay_s: float = 2.0
    max_delay_s: float = 600.0
    jitter: float = 0.5

    def delay_s(self, attempt: int, random: Random) -> float:
        """Seconds to wait after attempt number `attempt` (the first is 1) has failed.

        The fixed part doubles each time. The random part only ever shortens it, so the cap
        holds and tasks that failed together do not come back together.

        Source: "equal jitter" when `jitter` is 0.5, "full jitter" when it is 1.0
        (Amazon Builders' Library, "Timeouts, retries and backoff with jitter").
        """
        doublings = min(max(attempt, 1) - 1, _MAX_DOUBLINGS)
        longest = min(self.first_delay_s * 2.0**doublings, self.max_delay_s)
        return longest * (1 - self.jitter * random.random())
