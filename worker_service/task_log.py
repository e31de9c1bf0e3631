"""What handlers say through `ctx.log`, on its way to those who watch the task."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from shared.domain.task import TaskRecord
from shared.events.base import Event
from shared.jsontext import printable
from shared.news import News

log = structlog.get_logger(__name__)

#: Bytes of a line as JSON. With what a process of the pool puts before it, it stays below PIPE_BUF (4096 bytes).
MAX_LINE_BYTES: Final = 3_000
_MAX_TEXT_BYTES: Final = 1_000
#: Lines that an attempt may say at once, and each second from then on.
_BURST: Final = 100
_PER_SECOND: Final = 20.0
#: Lines of a whole worker that wait to be published: a few thousand a second, whatever its handlers do.
_MOST_WAITING: Final = 1_000

_LEVELS: Final = {
    "info": "info",
    "warning": "warning",
    "warn": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "fatal": "critical",
}
#: What a line says itself, and what is said of its task. A field of that name gets an underscore.
_OWN: Final = frozenset({"level", "event", "time", "attempt", "truncated", "task_id", "type", "queue"})


class LogTap:
    """Sends what one attempt says, `info` and above, as JSON texts. The first of the logger's processors.

    More lines than a person could read are dropped, and how many they were is said in their place. Callable from any
    thread; nothing here can fail the handler.

    Args:
        attempt: The attempt's number.
        send: Takes each line.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self, attempt: int, send: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempt = attempt
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._allowed = float(_BURST)
        self._counted_at = clock()
        self._dropped = 0

    def __call__(self, _logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        """Take what is said, and leave it as it is for the log of the worker."""
        try:
            if method in _LEVELS and self._may_speak():
                self._tell_dropped()
                self._send(line_of(_LEVELS[method], self._attempt, event))
        except Exception:
            log.debug("log_line_lost", exc_info=True)
        return event

    def close(self) -> None:
        """Say how many lines were dropped at the end."""
        try:
            self._tell_dropped()
        except Exception:
            log.debug("log_line_lost", exc_info=True)

    def _may_speak(self) -> bool:
        with self._lock:
            now = self._clock()
            self._allowed = min(float(_BURST), self._allowed + (now - self._counted_at) * _PER_SECOND)
            self._counted_at = now
            if self._allowed < 1:
                self._dropped += 1
                return False
            self._allowed -= 1
            return True

    def _tell_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._send(_note_of_dropped(self._attempt, dropped))


class TaskLogs:
    """Gathers the lines of all attempts of a worker until they are published, a few times a second.

    Args:
        news: Where they are published.
    """

    def __init__(self, news: News) -> None:
        self._news = news
        self._waiting: deque[tuple[TaskRecord, str]] = deque()
        self._dropped: dict[UUID, tuple[TaskRecord, int]] = {}

    def add(self, task: TaskRecord, line: str) -> None:
        """Take a line of a task. Callable from any thread."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append((task, line))
        else:
            self._dropped[task.id] = task, self._dropped.get(task.id, (task, 0))[1] + 1

    async def tell(self, finished: Sequence[TaskRecord] = ()) -> None:
        """Soon publish what was said until now, and then what has become of tasks: who hears that hears no more.

        Returns at once, unless more is said than can be written.
        """
        self._news.offer(finished, before=self._take())
        await self._news.keep_up()

    def _take(self) -> list[Event]:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        dropped, self._dropped = self._dropped, {}
        taken += [(task, _note_of_dropped(task.attempt, number)) for task, number in dropped.values()]
        return [Event("log", task.id, task.type, task.queue, orjson.loads(line)) for task, line in taken]


def _note_of_dropped(attempt: int, number: int) -> str:
    return line_of("warning", attempt, {"event": "lines dropped", "dropped": number})


def line_of(level: str, attempt: int, event: Mapping[str, Any]) -> str:
    """The JSON text of a line, cut to what may be sent. Fields that JSON can't hold are shown as text."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {"level": level, "event": _text(event.get("event", "")), "time": now}
    line = orjson.dumps({**fields, "attempt": attempt})
    for name, value in event.items():
        if name in ("event", "stack_info"):
            continue
        if name == "exc_info":
            name, value = "exception", _exception(value)
        name = f"{name}_" if name in _OWN else str(name)
        longer = b"%s,%s:%s}" % (line[:-1], orjson.dumps(_text(name)), _json(value))
        if len(longer) > MAX_LINE_BYTES - 20:
            return (line[:-1] + b',"truncated":true}').decode()
        line = longer
    return line.decode()


def _exception(exc_info: Any) -> str | None:
    """What went wrong, without its traceback, which the log of the worker has."""
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        error = sys.exc_info()[1] if error else None
    return None if error is None else f"{type(error).__name__}: {error}"


def _json(value: Any) -> bytes:
    try:
        text = orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):  # beyond 64 bits, a lone surrogate, a cycle
        return orjson.dumps(_text(value))
    return text if len(text) <= _MAX_TEXT_BYTES else orjson.dumps(_text(text.decode()))


def _text(value: Any) -> str:
    try:
        text = printable(value if isinstance(value, str) else repr(value), _MAX_TEXT_BYTES)
    except Exception:  # noqa: BLE001 - its own __repr__ is at fault
        return f"<{type(value).__name__}>"
    while len(orjson.dumps(text)) > _MAX_TEXT_BYTES:
        text = text[: len(text) // 2] + "…"
    return text
