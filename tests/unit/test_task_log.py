"""What becomes of the lines that a handler logs."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared.cache.memory import MemoryCache
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.telemetry.logging import tapped_logger
from tests.records import task_record
from worker_service.task_log import MAX_LINE_BYTES, LogTap, TaskLogs, line_of

_PIPE_BUF = 4096
_PREFIX = len(f"log {uuid4()} 2147483647 ")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def tapped(clock: Clock | None = None) -> tuple[Any, list[dict[str, Any]], LogTap]:
    """A logger, what came through its tap, and the tap."""
    lines: list[dict[str, Any]] = []
    tap = LogTap(2, lambda line: lines.append(orjson.loads(line)), clock or Clock())
    return tapped_logger(tap, "task"), lines, tap


def test_a_line_says_what_the_handler_said() -> None:
    logger, lines, _ = tapped()

    logger.bind(order=7).info("invoice_printed", pages=[1, 2], total=1.5)

    [line] = lines
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))).total_seconds()) < 60
    assert line == {
        "level": "info", "event": "invoice_printed", "attempt": 2, "order": 7, "pages": [1, 2], "total": 1.5
    }  # fmt: skip


def test_the_log_of_the_worker_is_as_it_was() -> None:
    with structlog.testing.capture_logs() as logs:
        logger, _, _ = tapped()
        logger.info("printed", level_of_ink=3)

    assert logs == [{"event": "printed", "level_of_ink": 3, "log_level": "info"}]


def test_an_exception_is_named() -> None:
    logger, lines, _ = tapped()

    try:
        raise OSError("no paper")
    except OSError as error:
        logger.exception("not_printed")
        logger.warning("printed_not", exc_info=error)
    logger.error("no_exception", exc_info=True)  # noqa: LOG014 - as handlers do by mistake

    assert [line["exception"] for line in lines] == ["OSError: no paper", "OSError: no paper", None]
    assert [line["level"] for line in lines] == ["error", "warning", "error"]


def test_details_stay_in_the_log_of_the_worker() -> None:
    logger, lines, _ = tapped()

    logger.debug("detail")
    logger.warning("odd")
    logger.error("bad")
    logger.critical("worse")

    assert [line["level"] for line in lines] == ["warning", "error", "critical"]


@pytest.mark.parametrize(
    "value, shown",
    [
        (2**70, str(2**70)),
        ("lone \ud800", "lone ?"),
        ({1: "a"}, {"1": "a"}),
        (float("nan"), None),
        (b"raw", "b'raw'"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ],
)
def test_what_json_can_not_hold_is_shown_as_text(value: Any, shown: Any) -> None:
    logger, lines, _ = tapped()

    logger.info("odd", value=value)

    assert lines[0]["value"] == shown


def test_a_cycle_is_shown_as_text() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    assert orjson.loads(line_of("info", 1, {"event": "odd", "value": cycle}))["value"] == "[[...]]"


def test_what_can_not_say_what_it_is_is_shown_by_its_class() -> None:
    assert orjson.loads(line_of("info", 1, {"event": "odd", "value": Unprintable()}))["value"] == "<Unprintable>"


def test_a_field_can_not_pass_for_what_the_line_says_itself() -> None:
    logger, lines, _ = tapped()

    logger.info("odd", level="none", task_id="mine", attempt=99)

    assert (lines[0]["level"], lines[0]["attempt"]) == ("info", 2)
    assert (lines[0]["level_"], lines[0]["task_id_"], lines[0]["attempt_"]) == ("none", "mine", 99)


@given(
    st.text(max_size=5000),
    st.dictionaries(
        st.text(max_size=3000), st.text(max_size=5000) | st.integers() | st.lists(st.integers()), max_size=50
    ),
)
def test_any_line_is_json_that_a_pipe_takes_whole(event: str, fields: dict[str, Any]) -> None:
    line = line_of("warning", 2**31 - 1, {**fields, "event": event})

    assert orjson.loads(line)["level"] == "warning"
    assert len(line.encode()) <= MAX_LINE_BYTES < _PIPE_BUF - _PREFIX - 4


def test_a_line_that_was_cut_says_so() -> None:
    fields = {f"f{n}": "y" * 900 for n in range(9)}
    line = orjson.loads(line_of("info", 1, {"event": "x" * 5000, **fields}))

    assert line["truncated"] is True
    assert line["f0"] == "y" * 900
    assert "f8" not in line


def test_a_torrent_is_cut_and_what_was_dropped_is_counted() -> None:
    clock = Clock()
    logger, lines, tap = tapped(clock)
    for number in range(1000):
        logger.info("torrent", number=number)
    assert len(lines) == 100

    clock.now += 1
    logger.info("later")
    logger.info("and later")
    tap.close()

    assert [line["event"] for line in lines[100:]] == ["lines dropped", "later", "and later"]
    assert lines[100]["dropped"] == 900


def test_what_is_dropped_at_the_end_is_counted_too() -> None:
    logger, lines, tap = tapped()
    for _ in range(103):
        logger.info("torrent")

    tap.close()
    tap.close()

    assert len(lines) == 101
    assert lines[-1]["dropped"] == 3


def test_a_line_that_can_not_be_sent_harms_nobody() -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    tap = LogTap(1, broken)
    logger = tapped_logger(tap, "task")

    logger.info("said")
    tap.close()


def test_lines_of_many_threads_are_counted_right() -> None:
    logger, lines, tap = tapped()
    threads = [threading.Thread(target=lambda: [logger.info("said") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    tap.close()

    assert lines[-1]["dropped"] == 300
    assert len(lines) == 101


class SlowEvents(MemoryEvents):
    """Takes its time with log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[str] = []

    async def publish(self, events: Any) -> None:
        if all(event.kind == "log" for event in events):
            await asyncio.sleep(0.05)
        self.published += [event.kind for event in events]


async def test_no_line_comes_after_what_has_become_of_the_task() -> None:
    events = SlowEvents()
    news = News(MemoryCache(), events, result_ttl_s=60, failure_ttl_s=60)
    logs = TaskLogs(news)
    task = task_record()
    logs.add(task, line_of("info", 1, {"event": "first"}))
    await logs.tell()
    await asyncio.sleep(0)
    logs.add(task, line_of("info", 1, {"event": "second"}))

    await logs.tell([task])
    await news.flushed()

    assert events.published == ["log", "log", "status"]


async def test_a_worker_holds_so_many_lines_and_says_what_it_dropped() -> None:
    events = MemoryEvents()
    news = News(MemoryCache(), events, result_ttl_s=60, failure_ttl_s=60)
    logs = TaskLogs(news)
    task, other = task_record(), task_record()
    for _ in range(1200):
        logs.add(task, line_of("info", 1, {"event": "said"}))
    logs.add(other, line_of("info", 1, {"event": "said"}))

    await logs.tell()
    await news.flushed()

    told = [event async for batch in events.replay("0-0-0") for event in batch]
    assert len(told) == 1002
    assert [(event.task_id, event.data["dropped"]) for event in told[1000:]] == [(task.id, 200), (other.id, 1)]
