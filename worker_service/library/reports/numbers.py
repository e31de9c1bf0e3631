"""Statistics of columns of numbers, by numpy. Missing values are NaN; results are plain Python."""

import math
from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worker_service.library.reports.profile import finite

Numbers = npt.NDArray[np.float64]

#: Outliers that are listed, the farthest first; all are counted.
MAX_OUTLIERS: Final = 20
#: Tukey's fences stand so many interquartile ranges beyond the quartiles.
_FENCE: Final = 1.5
_MAX_EXPONENT: Final = 1023
#: Pairs need so many rows that have both values.
_FEWEST_PAIRS: Final = 3


def as_numbers(values: "array[float]") -> Numbers:
    """The values without a copy."""
    return np.frombuffer(values, dtype=np.float64) if values else np.empty(0)


def present(values: Numbers) -> Numbers:
    """The values that are there."""
    return values[~np.isnan(values)]


def statistics(values: Numbers) -> dict[str, Any]:
    """Figures of a column: `mean`, `std` (of a sample), `min`, quartiles, `max`, and how many are distinct.

    Squares and sums of values near the end of the floats would overflow, so all are scaled first.
    """
    known = present(values)
    if not known.size:
        return {"distinct": 0}
    scale = _scale(known)
    scaled = known / scale
    q1, median, q3 = np.percentile(scaled, [25, 50, 75])
    return {
        "distinct": int(np.unique(known).size),
        "mean": _rescaled(scaled.mean(), scale),
        "std": _rescaled(scaled.std(ddof=1), scale) if known.size > 1 else None,
        "min": float(known.min()),
        "q1": _rescaled(q1, scale),
        "median": _rescaled(median, scale),
        "q3": _rescaled(q3, scale),
        "max": float(known.max()),
    }


def outliers(values: Numbers) -> dict[str, Any]:
    """Values beyond Tukey's fences: `count`, the fences, and the farthest with the numbers of their rows."""
    known = present(values)
    if known.size < 4:
        return {"count": 0, "rows": []}
    scale = _scale(known)
    q1, q3 = np.percentile(known / scale, [25, 75])
    low, high = q1 - _FENCE * (q3 - q1), q3 + _FENCE * (q3 - q1)
    with np.errstate(invalid="ignore"):
        distance = np.maximum(low - values / scale, values / scale - high)
        found = np.flatnonzero(distance > 0)
    farthest = found[np.argsort(-distance[found], kind="stable")[:MAX_OUTLIERS]]
    return {
        "count": int(found.size),
        "below": _rescaled(low, scale),
        "above": _rescaled(high, scale),
        "rows": [{"row": int(place) + 1, "value": float(values[place])} for place in farthest],
    }


def correlations(columns: Sequence[Numbers]) -> list[list[float | None]]:
    """Pearson's coefficient of each pair of columns; None where one of them is constant or too little is known."""
    matrix: list[list[float | None]] = [[None] * len(columns) for _ in columns]
    for one, first in enumerate(columns):
        for other in range(one, len(columns)):
            matrix[one][other] = matrix[other][one] = _correlation(first, columns[other])
    return matrix


def _correlation(first: Numbers, second: Numbers) -> float | None:
    both = ~(np.isnan(first) | np.isnan(second))
    if np.count_nonzero(both) < _FEWEST_PAIRS:
        return None
    a, b = (_centred(values[both]) for values in (first, second))
    size = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return round(max(-1.0, min(1.0, float(a @ b) / size)), 6) if size else None


def _centred(values: Numbers) -> Numbers:
    if values.min() == values.max():  # the mean of equal values may differ from them by a rounding
        return np.zeros_like(values)
    scaled = values / _scale(values)
    centred = scaled - scaled.mean()
    farthest = float(np.abs(centred).max())
    return np.asarray(centred / (farthest or 1.0), dtype=np.float64)


def _scale(values: Numbers) -> float:
    """A power of two that brings the values near 1: dividing by it rounds nothing."""
    largest = float(np.abs(values).max())
    return 2.0 ** min(math.frexp(largest)[1], _MAX_EXPONENT) if largest else 1.0


def _rescaled(value: Any, scale: float) -> float | None:
    return finite(float(value) * scale)
