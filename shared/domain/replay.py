"""The replay of many dead letters, as the API asks for it and a worker does it."""

from typing import Any, Final

#: The type of the task that does it.
REPLAY_TYPE: Final = "system.replay"

#: Tasks that are queued again each second, at most.
DEFAULT_PER_SECOND: Final = 20.0
MIN_PER_SECOND: Final = 0.1
MAX_PER_SECOND: Final = 1000.0

#: A payload that matches nothing, for those who try every type.
REPLAY_EXAMPLE: Final[dict[str, Any]] = {
    "queue": "default",
    "type": "demo.fail",
    "before": "1970-01-02T00:00:00Z",
    "per_second": DEFAULT_PER_SECOND,
}
