"""What a handler may ask and say while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from shared.domain.task import progress_json
from shared.errors import TaskmillError
from shared.jsontext import printable
from shared.telemetry.logging import tapped_logger
from worker_service.errors import SoftTimeout, Stopped
from worker_service.files import AttemptFiles, Data, Nothing
from worker_service.marking import Marks, require_mark
from worker_service.system import System
from worker_service.task_log import LogTap

#: Characters of a progress message. A report stays below PIPE_BUF (4096 bytes), so that a process that is
#: killed while it writes one leaves no half of it behind.
_MESSAGE_CHARS: Final = 500
#: The name of the logger in the lines of handlers.
_LOGGER: Final = "task"


class Signals(Protocol):
    """How the handler learns that it should end. Read from any thread."""

    @property
    def stopped(self) -> bool:
        """Whether the attempt is to end now."""

    @property
    def soft_timed_out(self) -> bool:
        """Whether the soft timeout has passed."""


#: Takes the progress of the attempt, as JSON text; callable from any thread.
ReportProgress = Callable[[str], None]
#: Stores a new task: (type, payload, options) to its id.
Submit = Callable[[str, Any, dict[str, Any]], Awaitable[UUID]]


class TaskContext:
    """The second argument of every handler.

    Attributes:
        task_id: The task's id.
        attempt: Number of this attempt; the first is 1.
        queue: Where the task was taken from.
    """

    def __init__(
        self,
        *,
        task_id: UUID,
        attempt: int,
        queue: str,
        signals: Signals,
        report_progress: ReportProgress,
        submit: Submit | None = None,
        system: System | None = None,
        marks: Marks | None = None,
        files: Callable[[], AttemptFiles] | None = None,
        log_tap: Callable[[], LogTap] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.queue = queue
        self._signals = signals
        self._report_progress = report_progress
        self._submit = submit
        self._system = system
        self._marks = marks
        # Most handlers neither make files nor log: what that takes is made when it is first asked for.
        self._make_files = files
        self._make_log_tap = log_tap
        self._loop = loop

    @cached_property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger whose lines carry the task, attempt, worker and request.

        Besides the log of the worker they go, from `info` up, to those who watch the task live.
        """
        if self._make_log_tap is not None:
            return tapped_logger(self._make_log_tap(), _LOGGER)
        logger: FilteringBoundLogger = structlog.get_logger(_LOGGER)
        return logger

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the task: hand it to other systems so that a repeat there is no repeat."""
        return str(self.task_id)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is to end: cancelled, out of time, or its worker is stopping."""
        return self._signals.stopped

    @property
    def soft_timed_out(self) -> bool:
        """Whether the soft timeout has passed; the hard one is near."""
        return self._signals.soft_timed_out

    def check_cancelled(self) -> None:
        """Do nothing while the attempt may go on. For `def` handlers, which nobody can interrupt.

        Raises:
            Stopped: The attempt is to end now.
            SoftTimeout: Its soft timeout has passed.
        """
        if self._signals.stopped:
            raise Stopped("the attempt was asked to end")
        if self._signals.soft_timed_out:
            raise SoftTimeout("the soft timeout has passed")

    def progress(self, done: float, total: float | None = None, message: str = "") -> Awaitable[None]:
        """Say how far the task is. Stored about twice a second; clients see the latest.

        Works at once in every kind of handler; `async def` handlers may await it to let others run.

        Args:
            done: How much is done, in any unit.
            total: How much there is, in the same unit; None where nobody knows.
            message: A few words for people.
        """
        whole = None if total is None else float(total)
        self._report_progress(progress_json(float(done), whole, printable(message, _MESSAGE_CHARS)))
        return Nothing()

    def artifact(self, name: str, data: Data, media_type: str | None = None) -> Awaitable[None]:
        """Keep a file with the task, which shows it under `artifacts` once this attempt has ended.

        In `def` handlers it is stored when this returns. `async def` handlers may await it; what they don't
        await is stored before the attempt counts as ended. A second one of the same name replaces the first.

        Args:
            name: 1 to 200 printable characters, no slash, no dot at the beginning.
            data: Bytes, or the Path of a file, which is streamed.
            media_type: Like `text/csv`; None for what the name's ending says.

        Raises:
            Permanent: The name or the media type can't be one.
            ArtifactsUnavailableError: The artifact store can't be reached; the attempt should fail for it.
        """
        return self._files.keep(name, data, media_type)

    async def fetch(self, source: str) -> Path:
        """A copy of an artifact in the folder of this attempt.

        Args:
            source: The `artifact_id` of an upload, or an `href` as the API shows it.

        Raises:
            Permanent: There is no such artifact.
            ArtifactsUnavailableError: The artifact store can't be reached; the attempt should fail for it.
        """
        return await asyncio.to_thread(self._files.fetch, source)

    def fetch_blocking(self, source: str) -> Path:
        """`fetch` for `def` handlers, those in processes included."""
        return self._files.fetch(source)

    @property
    def scratch(self) -> Path:
        """A folder for the temporary files of this attempt; it is removed when the attempt is over."""
        return self._files.scratch

    async def submit(self, type: str, payload: Any = None, **options: Any) -> UUID:
        """Store a new task that has this one as its parent; accepted for good when this returns.

        A later attempt of this handler submits again: give `unique={"key": …}` where that must not double.

        Args:
            type: A type that some worker has announced.
            payload: What its schema accepts; None for `{}`.
            options: As in `POST /tasks`: queue, priority, delay, max_attempts, timeout, tags, unique.

        Raises:
            TaskmillError: The type is unknown, or an option does not fit.
        """
        return await self._require_submit()(type, payload, options)

    def submit_blocking(self, type: str, payload: Any = None, **options: Any) -> UUID:
        """`submit` for `def` handlers; waits until the task is stored."""
        self._require_submit()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self.submit(type, payload, **options), self._loop).result()

    async def mark(self, mark: str) -> None:
        """Remember for all attempts of this task that a step is done; stored for good when this returns.

        Args:
            mark: What the step is known by within the task; 1 to 500 characters.

        Raises:
            TaskmillError: The handler runs in a process of the pool.
        """
        require_mark(mark)
        await self._require_marks().add(mark)

    async def marks(self) -> frozenset[str]:
        """What this task has marked so far, in earlier attempts too: steps to leave out now."""
        return await self._require_marks().all()

    def mark_blocking(self, mark: str) -> None:
        """`mark` for `def` handlers in threads."""
        self._require_marks()
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.mark(mark), self._loop).result()

    def marks_blocking(self) -> frozenset[str]:
        """`marks` for `def` handlers in threads."""
        self._require_marks()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self.marks(), self._loop).result()

    @property
    def system(self) -> System:
        """The worker's own services, for Taskmill's built-in tasks; an application's handler has no use for them.

        Raises:
            TaskmillError: The handler runs in a process of the pool, or in a test.
        """
        if self._system is None:
            raise TaskmillError("this handler runs where the worker's services can't be reached")
        return self._system

    @cached_property
    def _files(self) -> AttemptFiles:
        if self._make_files is None:
            raise TaskmillError("this handler runs where there is no artifact store")
        return self._make_files()

    def _require_marks(self) -> Marks:
        if self._marks is None:
            raise TaskmillError("a cpu=True handler can't mark steps: submit a task for each of them instead")
        return self._marks

    def _require_submit(self) -> Submit:
        if self._submit is None:
            raise TaskmillError("a cpu=True handler can't submit tasks: return what is to follow")
        return self._submit
