"""Whatever a handler does becomes a report."""

import asyncio
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel, Field

from shared import jsontext
from shared.domain.outcome import Failed, Failure, Report, Returned
from shared.ids import new_task_id
from worker_service import Permanent, Retry, Stopped, TaskContext, task
from worker_service import registry as registry_module
from worker_service.calling import call_blocking, call_on_loop, report_of
from worker_service.registry import Registry, TaskType
from worker_service.testing import FakeSignals


class Order(BaseModel):
    n: int = Field(ge=1)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    empty = Registry()
    monkeypatch.setattr(registry_module, "registry", empty)
    return empty


def context() -> TaskContext:
    return TaskContext(
        task_id=new_task_id(), attempt=1, queue="default", signals=FakeSignals(), report_progress=lambda _: None
    )


def type_of(handler: Callable[..., Any]) -> TaskType:
    task("probe")(handler)
    return registry_module.registry.of(handler)


def report_after(error: BaseException, payload: str = "{}") -> Report:
    def handler(payload: Any, ctx: TaskContext) -> None:
        raise error

    return call_blocking(type_of(handler), payload, context())


def report_of_returning(value: Any, annotation: Any = Any) -> Report:
    def handler(payload: Any, ctx: TaskContext) -> Any:
        return value

    handler.__annotations__["return"] = annotation
    return call_blocking(type_of(handler), "{}", context())


def failure_in(report: Report) -> Failure:
    assert isinstance(report, Failed)
    return report.failure


# Returning ............................................................................


def test_what_is_returned_becomes_json() -> None:
    assert report_of_returning({"a": (1, None)}) == Returned('{"a":[1,null]}')


def test_the_annotation_decides_how_a_result_looks() -> None:
    assert report_of_returning(Order(n=1), Order) == Returned('{"n":1}')


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(math.nan, id="nan"),
        pytest.param([math.inf], id="inf"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param(object(), id="object"),
        pytest.param(_cycle(), id="cycle"),
        pytest.param(_deep(), id="deep"),
        pytest.param("x" * (4 * 1024 * 1024), id="huge"),
        pytest.param("é" * (2 * 1024 * 1024), id="huge in bytes"),
    ],
)
def test_a_result_that_can_not_be_kept_fails_for_good(value: Any) -> None:
    report = report_of_returning(value)

    assert failure_in(report).kind == "invalid_result"
    assert isinstance(report, Failed)
    assert report.permanent


def test_a_result_that_denies_its_annotation_fails_for_good() -> None:
    assert failure_in(report_of_returning("text", int)).kind == "invalid_result"


# Raising ..............................................................................


def test_an_exception_is_reported_by_its_class_with_message_and_traceback() -> None:
    failure = failure_in(report_after(OSError("connection reset")))

    assert (failure.kind, failure.message) == ("OSError", "connection reset")
    assert failure.traceback is not None
    assert "raise error" in failure.traceback


def test_an_exception_without_words_is_called_by_its_class() -> None:
    assert failure_in(report_after(ValueError())).message == "ValueError"


def test_permanent_asks_for_no_other_attempt() -> None:
    report = report_after(Permanent("no such order"))

    assert isinstance(report, Failed)
    assert report.permanent
    assert (report.failure.kind, report.failure.message) == ("permanent", "no such order")


@pytest.mark.parametrize("after", [None, 0, 7.5])
def test_retry_carries_the_wait_that_was_asked_for(after: float | None) -> None:
    report = report_after(Retry("rate limited", after=after))

    assert isinstance(report, Failed)
    assert (report.permanent, report.retry_after_s) == (False, after)


@pytest.mark.parametrize("after", [-1, math.nan, math.inf, 400 * 86400])
def test_a_wait_that_is_none_can_not_be_asked_for(after: float) -> None:
    with pytest.raises(ValueError, match="not a number of seconds"):
        Retry(after=after)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_no_exception_ends_the_thread_it_was_raised_in(error: BaseException) -> None:
    assert failure_in(report_after(error)).kind == type(error).__name__


class Unspeakable(Exception):
    def __str__(self) -> NoReturn:
        raise Unspeakable


def test_an_exception_that_can_not_be_printed_is_reported_all_the_same() -> None:
    assert failure_in(report_after(Unspeakable())).kind == "Unspeakable"


def test_text_that_no_store_takes_is_made_printable() -> None:
    failure = failure_in(report_after(ValueError("a\x00b\ud800" + "c" * 5000)))

    assert len(failure.message) <= 2000
    assert "\x00" not in failure.message
    assert failure.message.encode()


def test_a_long_traceback_keeps_its_end() -> None:
    def dive(depth: int) -> NoReturn:
        if depth:
            locals_differ = {depth: lambda: dive(depth - 1)}
            locals_differ[depth]()
        raise OSError("at the bottom")

    try:
        dive(300)
    except OSError as error:
        traceback = failure_in(report_of(error)).traceback

    assert traceback is not None
    assert len(traceback) <= 8000
    assert traceback.rstrip().endswith("OSError: at the bottom")


def test_endless_recursion_is_a_failure_like_any_other() -> None:
    def handler(payload: Any, ctx: TaskContext) -> None:
        handler(payload, ctx)

    assert failure_in(call_blocking(type_of(handler), "{}", context())).kind == "RecursionError"


def test_leaving_when_told_to_is_reported_for_the_executor_to_judge() -> None:
    assert failure_in(report_after(Stopped("the attempt was asked to end"))).kind == "Stopped"


# Payloads .............................................................................


def handler_of_orders(payload: Order, ctx: TaskContext) -> int:
    return payload.n


def test_a_payload_arrives_in_its_class() -> None:
    assert call_blocking(type_of(handler_of_orders), '{"n": 3}', context()) == Returned("3")


@pytest.mark.parametrize("payload", ["{}", '{"n": 0}', '{"n": "x"}', "null", "[]"])
def test_a_payload_that_does_not_fit_fails_for_good_and_says_where(payload: str) -> None:
    report = call_blocking(type_of(handler_of_orders), payload, context())

    assert isinstance(report, Failed)
    assert report.permanent
    assert report.failure.kind == "invalid_payload"
    assert report.failure.message.startswith("/")


def test_a_validation_error_of_the_handlers_own_is_no_invalid_payload() -> None:
    def handler(payload: Any, ctx: TaskContext) -> None:
        Order.model_validate({"n": 0})

    report = call_blocking(type_of(handler), "{}", context())

    assert failure_in(report).kind == "ValidationError"


# On the loop ..........................................................................


async def test_a_coroutine_is_awaited() -> None:
    async def handler(payload: Any, ctx: TaskContext) -> Any:
        await asyncio.sleep(0)
        return payload

    assert await call_on_loop(type_of(handler), "[1]", context()) == Returned("[1]")


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), Unspeakable(), ExceptionGroup("", [OSError()])]
)
async def test_no_exception_of_a_coroutine_ends_the_event_loop(error: BaseException) -> None:
    async def handler(payload: Any, ctx: TaskContext) -> None:
        raise error

    assert failure_in(await call_on_loop(type_of(handler), "{}", context())).kind == type(error).__name__


async def test_cancellation_passes_through_for_the_executor_to_explain() -> None:
    async def handler(payload: Any, ctx: TaskContext) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call_on_loop(type_of(handler), "{}", context())


def test_leaving_the_interpreter_from_a_handler_is_a_failure_with_its_status() -> None:
    def handler(payload: Any, ctx: TaskContext) -> None:
        sys.exit("no more")

    failure = failure_in(call_blocking(type_of(handler), "{}", context()))

    assert (failure.kind, failure.message) == ("SystemExit", "no more")


def test_big_integers_reach_the_handler_exactly() -> None:
    def handler(payload: int, ctx: TaskContext) -> int:
        return payload + 1

    assert call_blocking(type_of(handler), str(2**70), context()) == Returned(jsontext.dumps(2**70 + 1))
