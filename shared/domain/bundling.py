"""Which doorbells travel together in one message."""

from collections.abc import Callable, Iterable
from typing import Final

from shared.domain.ring import Ring

#: Seconds of work that one message may bring a worker. Short tasks then cost the broker next to nothing, and no
#: worker hoards for long what another one could do.
_WORK_S: Final = 0.05
#: The most that travel together, however short they are.
_MOST: Final = 100


def bundled(rings: Iterable[Ring], mean_s: Callable[[str], float | None]) -> list[list[Ring]]:
    """The doorbells in bundles of one queue and priority, in the order in which they came.

    Args:
        rings: What is to be rung.
        mean_s: How long an attempt of a type runs, in seconds; None where nobody has measured: such a task travels
            alone.
    """
    bundles: list[list[Ring]] = []
    open_bundles: dict[tuple[str, str], tuple[list[Ring], float]] = {}
    for ring in rings:
        share = _share(mean_s(ring.type)) if ring.type is not None else 1.0
        place = (ring.queue, ring.priority)
        bundle, filled = open_bundles.get(place, ([], 1.0))
        # The sum of many shares is not exact.
        if filled + share > 1.0 + 1e-9:
            bundle, filled = [], 0.0
            bundles.append(bundle)
        bundle.append(ring)
        open_bundles[place] = (bundle, filled + share)
    return bundles


def _share(mean_s: float | None) -> float:
    """How much of a bundle a task takes up."""
    return 1.0 if mean_s is None else min(1.0, max(mean_s / _WORK_S, 1 / _MOST))
