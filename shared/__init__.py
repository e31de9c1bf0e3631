"""What both services need: the domain, the store, and the seams to broker, cache and events."""

import sys


def _load_structlog_alone() -> None:
    """Import structlog without what it takes along wherever that is installed.

    Rich would draw tracebacks that no service prints, and nothing runs in greenlets: 5 MiB of every process.
    """
    unused = [name for name in ("greenlet", "rich") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unused))  # type: ignore[arg-type]  # None: can't be imported
    try:
        import structlog  # noqa: F401
    finally:
        for name in unused:
            del sys.modules[name]


_load_structlog_alone()
