"""A steady stream of requests, which waits for nobody: what real clients are."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from tests.bench.load import Line, Request, get, post

_TICK_S: Final = 0.01
_FRESH_S: Final = 2.0
#: Beyond it the stream holds back: the system can't keep up, and its samples say so already.
_MOST_IN_FLIGHT: Final = 1000
_REMEMBERED: Final = 1000
_KEYS: Final = 5000


class OpenLoop:
    """Sends a mixture of requests at a steady rate, however long their answers take.

    Args:
        url: Of the API.
        rate: Requests per second.

    Attributes:
        sent: How many so far.
        in_flight: How many wait for their answer.
        bad: Answers that were neither 2xx nor 304, and broken connections.
    """

    def __init__(self, url: str, rate: float) -> None:
        self.sent = 0
        self.in_flight = 0
        self.bad: Counter[str] = Counter()
        self._url = url
        self._rate = rate
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._free: list[tuple[Line, float]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Go on for so long, and until the last answer is there."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            while self.sent < passed * self._rate and self.in_flight < _MOST_IN_FLIGHT:
                self._send(mixed(self.sent, self._recent))
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*self._running)
        for line, _ in self._free:
            line.close()

    def _send(self, request: Request) -> None:
        self.sent += 1
        self.in_flight += 1
        task = asyncio.create_task(self._ask(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _ask(self, request: Request) -> None:
        line = self._line()
        try:
            answer = await line.ask(request)
        except OSError as error:
            self.bad[type(error).__name__] += 1
        else:
            self._note(line, answer)
            self._free.append((line, time.monotonic()))
        finally:
            self.in_flight -= 1

    def _line(self) -> Line:
        """A connection; one that was idle for long may be closed by the server just as it is used."""
        while self._free:
            line, used_at = self._free.pop()
            if time.monotonic() - used_at < _FRESH_S:
                return line
            line.close()
        return Line(self._url)

    def _note(self, line: Line, answer: Any) -> None:
        if line.refusal:
            self.bad[line.refusal[:3]] += 1
        elif "duplicate" in answer:
            self._recent.append(answer["task_id"])


def mixed(number: int, recent: deque[str]) -> Request:
    """One request of a hundred different ones: mostly tasks that do nothing, and some of everything else."""
    place = number % 100
    for below, make in _MIXTURE:
        if place < below:
            return make(number, recent)
    return _echo(number, recent)


def _echo(number: int, recent: deque[str]) -> Request:
    return post("/tasks", {"type": "demo.echo", "payload": {"n": number}})


def _retried(number: int, recent: deque[str]) -> Request:
    return post("/tasks", {"type": "demo.fail", "payload": {"times": 1}})


def _failed(number: int, recent: deque[str]) -> Request:
    return post("/tasks", {"type": "demo.fail", "payload": {"times": 9}, "max_attempts": 1})


def _unique(number: int, recent: deque[str]) -> Request:
    unique = {"key": f"soak-{number % _KEYS}", "for": 60}
    return post("/tasks", {"type": "demo.echo", "payload": {"n": number}, "unique": unique})


def _repeated(number: int, recent: deque[str]) -> Request:
    """Each key comes twice, with the same body."""
    once = number // 200
    return post("/tasks", {"type": "demo.echo", "payload": {"n": once}}, key=f"soak-{once}-{number % 100}")


def _later(number: int, recent: deque[str]) -> Request:
    return post("/tasks", {"type": "demo.echo", "payload": {"n": number}, "delay": 5})


def _read(number: int, recent: deque[str]) -> Request:
    return get(f"/tasks/{recent[number % len(recent)]}" if recent else "/health")


def _listed(number: int, recent: deque[str]) -> Request:
    return get("/tasks?limit=20&status=failed" if number % 200 < 100 else "/queues")


#: Up to which of a hundred.
_MIXTURE: Final[tuple[tuple[int, Callable[[int, deque[str]], Request]], ...]] = (
    (4, _retried),
    (5, _failed),
    (10, _unique),
    (15, _repeated),
    (20, _later),
    (30, _read),
    (31, _listed),
)
