"""Testing tasks without any service: run a handler with a context that records what it says."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared import jsontext
from shared.ids import new_task_id
from worker_service.context import TaskContext
from worker_service.registry import registry


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that the handler submitted."""

    type: str
    payload: Any
    options: dict[str, Any]


@dataclass(slots=True)
class Run:
    """What one attempt did.

    Attributes:
        result: What the handler returned, as JSON would show it.
        progress: Every report, as clients would see it.
        submitted: The tasks it submitted.
        marks: The steps it marked, in order.
    """

    result: Any = None
    progress: list[dict[str, Any]] = field(default_factory=list)
    submitted: list[Submitted] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _RecordedMarks:
    """Marks in memory."""

    earlier: frozenset[str]
    run: Run

    async def add(self, mark: str) -> None:
        self.run.marks.append(mark)

    async def all(self) -> frozenset[str]:
        return self.earlier | frozenset(self.run.marks)


@dataclass(slots=True)
class FakeSignals:
    """The wishes that the handler is to see; change them from outside while it runs."""

    stopped: bool = False
    soft_timed_out: bool = False


def run_task(
    handler: Callable[..., Any],
    payload: Any = None,
    *,
    attempt: int = 1,
    signals: FakeSignals | None = None,
    marks: Iterable[str] = (),
) -> Run:
    """Run one attempt of a task here and now; what the handler raises comes out as it is.

    The payload takes the way it takes in earnest: through JSON into the annotated class. Works in plain tests
    and inside a running event loop alike.

    Args:
        handler: A function with the `@task` decorator.
        payload: JSON-like, as a client would send it; None for `{}`.
        attempt: The number of the attempt that `ctx` shows.
        signals: What `ctx.cancelled` and `ctx.soft_timed_out` show.
        marks: What earlier attempts have marked.

    Raises:
        TaskDefinitionError: The function has no `@task` decorator.
        ValidationError: The payload does not fit the annotation.
    """
    task_type = registry.of(handler)
    run = Run()

    async def submit(type_: str, sent: Any, options: dict[str, Any]) -> UUID:
        run.submitted.append(Submitted(type_, sent, options))
        return new_task_id()

    async def call() -> Any:
        ctx = TaskContext(
            task_id=new_task_id(),
            attempt=attempt,
            queue=task_type.info.queue,
            signals=signals or FakeSignals(),
            report_progress=lambda text: run.progress.append(jsontext.loads(text)),
            submit=submit,
            marks=_RecordedMarks(frozenset(marks), run),
            loop=asyncio.get_running_loop(),
        )
        sent = task_type.payload.validate_python(jsontext.loads(jsontext.dumps({} if payload is None else payload)))
        if task_type.runs_in == "loop":
            return await task_type.handler(sent, ctx)
        return await asyncio.to_thread(task_type.handler, sent, ctx)

    returned = _in_a_loop_of_its_own(call)
    run.result = jsontext.loads(jsontext.dumps(task_type.result.dump_python(returned, mode="python")))
    return run


def _in_a_loop_of_its_own(call: Callable[[], Any]) -> Any:
    """Run `call` in a thread, since the caller may itself run in an event loop."""
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(call()))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, name="run-task")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]
