"""How long tasks waited and ran, counted in buckets that grow with the duration, and percentiles of the counts."""

import math
from collections.abc import Mapping
from typing import Final

#: Seconds that the first bucket ends at; nothing shorter is told apart.
_FIRST_S: Final = 0.001
#: Buckets for each doubling: one is 19 % wide, so a percentile is off by less than that.
_PER_DOUBLING: Final = 4
#: Everything from 49 days on is in the last bucket.
_LAST: Final = 128


def bucket_of(seconds: float) -> int:
    """The bucket that a duration is counted in; what is negative (clocks differ) took no time."""
    if seconds <= _FIRST_S:
        return 0
    # The tiny bit keeps a duration that is exactly a bucket's end inside it.
    return min(math.ceil(math.log2(seconds / _FIRST_S) * _PER_DOUBLING - 1e-9), _LAST)


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The seconds that a `share` of the counted durations did not exceed, to three digits; None without any.

    Args:
        buckets: How many durations each bucket holds.
        share: From 0 (exclusive) to 1: 0.5 is the median.
    """
    rank = share * sum(buckets.values())
    below = 0
    for bucket, number in sorted(buckets.items()):
        if number and below + number >= rank:
            within = (rank - below) / number
            return float(f"{_end_s(bucket - 1) + within * (_end_s(bucket) - _end_s(bucket - 1)):.3g}")
        below += number
    return None


def _end_s(bucket: int) -> float:
    return 0.0 if bucket < 0 else _FIRST_S * 2.0 ** (bucket / _PER_DOUBLING)
