"""Runs handlers where they belong, holds them to their limits, and reports how each attempt ended."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final
from uuid import UUID

import anyio
import structlog
from anyio import to_thread

from shared.domain.outcome import Failed, Failure, Interrupted, Report
from worker_service.calling import call_blocking, call_on_loop, report_of
from worker_service.context import TaskContext
from worker_service.files import AttemptFiles, WorkerFiles
from worker_service.marking import StoredMarks
from worker_service.process_pool import HandlerProcesses, Job
from worker_service.running import Running, StopReason
from worker_service.scratch import remove
from worker_service.submitting import HandlerSubmissions
from worker_service.system import System
from worker_service.task_log import LogTap, TaskLogs

log = structlog.get_logger(__name__)

#: Seconds between two looks at the limits of all running attempts: one timer instead of one for each.
_TICK_S: Final = 0.2
#: Seconds a handler has to end after it was told to. Then a process is killed, and others are given up: their
#: outcome is written, their slot stays taken until they end.
STOP_GRACE_S: Final = 5.0

#: Seconds after which the folder of a killed process is looked at again: it may have written until its end.
_SCRATCH_AGAIN_S: Final = 5.0

#: Seconds after which the time of an attempt counts although its process has not begun: it may hang.
_PROCESS_START_S: Final = 60.0

OnReport = Callable[[Running, Report], None]


class Executor:
    """Runs attempts. Reports each exactly once, whatever its handler does.

    Args:
        worker_id: For the log lines of handlers.
        processes: Where `cpu=True` handlers run.
        threads: How many `def` handlers may run at once.
        on_report: Takes the report of an attempt that has ended or was given up.
        submissions: Where handlers submit tasks.
        system: What the built-in handlers may reach.
        files: Where the files of attempts are.
        logs: Where their log lines go.
    """

    def __init__(
        self,
        *,
        worker_id: str,
        processes: HandlerProcesses,
        threads: int,
        on_report: OnReport,
        submissions: HandlerSubmissions | None = None,
        system: System | None = None,
        files: WorkerFiles | None = None,
        logs: TaskLogs | None = None,
    ) -> None:
        self._worker_id = worker_id
        self._processes = processes
        self._threads = anyio.CapacityLimiter(threads)
        self._on_report = on_report
        self._submissions = submissions
        self._system = system
        self._files = files
        self._logs = logs
        self._running: dict[tuple[UUID, int], Running] = {}
        self._has_reported = asyncio.Event()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Executor running={len(self._running)}>"

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._running.values()))

    def is_running(self, task_id: UUID, attempt: int) -> bool:
        """Whether this very attempt runs here, or has ended and its outcome is not written yet."""
        return (task_id, attempt) in self._running

    # The way of an attempt ..........................................................

    def start(self, running: Running) -> None:
        """Begin an attempt. Returns at once."""
        self._running[running.task.id, running.task.attempt] = running
        running.on_over = self._forget
        running.on_ended = _remove_scratch
        if self._is_closed:  # claimed by a statement that outlasted the stop: back with it, unspent
            self._report(running, Interrupted())
            running.mark_ended()
            return
        running.call = asyncio.create_task(self._run(running))

    def _forget(self, running: Running) -> None:
        self._running.pop((running.task.id, running.task.attempt), None)

    async def _run(self, running: Running) -> None:
        running.is_awaited = True
        try:
            report = running.report_of_stop() if running.stopped else await self._call(running)
        except asyncio.CancelledError:
            report = Failed(Failure("CancelledError", "the handler was cancelled from within"))
        except Exception as error:  # noqa: BLE001 - what became of a process of the pool, for one
            report = report_of(error)
        # A handler that raises because it was told to end has not failed; one that finished its work has finished.
        if running.stopped and isinstance(report, Failed):
            report = running.report_of_stop()
        self._call_ended(running, report)

    async def _call(self, running: Running) -> Report:
        task = running.task
        structlog.contextvars.bind_contextvars(
            task_id=str(task.id), attempt=task.attempt, worker=self._worker_id, request_id=task.request_id
        )
        if task.submitted_by is not None:
            structlog.contextvars.bind_contextvars(caller=task.submitted_by)
        match running.type.runs_in:
            case "loop":
                self._begin(running)
                ctx, began = self._context(running), time.perf_counter()
                report = await call_on_loop(running.type, task.payload, ctx)
                running.took_s = time.perf_counter() - began
                # A file that could not be stored fails the attempt, as it does where it is awaited.
                error = None if running.files is None else await running.files.settled()
                return report if error is None or isinstance(report, Failed) else report_of(error)
            case "thread":
                return await to_thread.run_sync(
                    self._call_in_thread, running, limiter=self._threads, abandon_on_cancel=True
                )
            case "process":
                end = await self._processes.run(lambda slot: self._job(running, slot), lambda: self._place(running))
                running.artifacts_of_process = end.artifacts
                return end.report

    def _call_in_thread(self, running: Running) -> Report:
        loop = running.loop
        if running.stop_reason is not None:  # told to end while it waited for a thread
            return running.report_of_stop()
        running.in_thread = True
        loop.call_soon_threadsafe(self._begin, running)
        ctx, began = self._context(running), time.perf_counter()
        try:
            return call_blocking(running.type, running.task.payload, ctx)
        finally:
            running.took_s = time.perf_counter() - began
            # The event loop may have given this thread up long ago: only now is its slot free.
            running.in_thread = False
            loop.call_soon_threadsafe(running.mark_ended)

    def _context(self, running: Running) -> TaskContext:
        task = running.task
        return TaskContext(
            task_id=task.id,
            attempt=task.attempt,
            queue=task.queue,
            signals=running,
            report_progress=running.report_progress,
            submit=None if self._submissions is None else partial(self._submissions.submit, task),
            system=self._system,
            marks=None if self._system is None else StoredMarks(self._system.store, task.id),
            files=None if self._files is None else partial(_attempt_files, self._files, running),
            log_tap=None if self._logs is None else partial(_log_tap, self._logs, running),
            loop=running.loop,
        )

    def _job(self, running: Running, slot: int) -> Job:
        task = running.task
        running.ask_process_to_stop = partial(self._processes.ask_to_stop, slot)
        assert self._files is not None
        running.scratch = self._files.scratch.of(task.id, task.attempt)
        return Job(
            task.type,
            running.type.handler.__module__,
            task.payload,
            task.id,
            task.attempt,
            task.queue,
            task.request_id,
            task.submitted_by,
            task.soft_timeout_s,
            slot,
            running.scratch,
        )

    @staticmethod
    def _begin(running: Running) -> None:
        running.began_at = running.loop.time()

    @staticmethod
    def _place(running: Running) -> None:
        # Until the process says that the handler begins it may be starting, which is not the handler's time.
        running.began_at = running.loop.time() + _PROCESS_START_S

    def begun_in_process(self, task_id: UUID, attempt: int, _: str) -> None:
        """Take the word of a process that it calls the handler now."""
        if running := self._running.get((task_id, attempt)):
            self._begin(running)

    def progress_from_process(self, task_id: UUID, attempt: int, progress: str) -> None:
        """Take a report that came from a process of the pool."""
        if running := self._running.get((task_id, attempt)):
            running.progress = progress

    def line_from_process(self, task_id: UUID, attempt: int, line: str) -> None:
        """Take a log line that came from a process of the pool."""
        if self._logs is not None and (running := self._running.get((task_id, attempt))):
            self._logs.add(running.task, line)

    # Its end ........................................................................

    def _call_ended(self, running: Running, report: Report) -> None:
        if running.files is not None:
            running.files.abandon()
        if running.log_tap is not None:
            running.log_tap.close()
        self._report(running, report)
        if not running.in_thread:
            running.mark_ended()

    def _report(self, running: Running, report: Report) -> None:
        if not running.reported:
            running.reported = True
            self._on_report(running, report)
            self._has_reported.set()

    # Stopping .......................................................................

    def stop(self, running: Running, reason: StopReason) -> None:
        """Tell an attempt to end. Its handler may still finish its work, and then that counts."""
        if running.stop_reason is not None or running.reported:
            return
        running.stop_reason = reason
        running.stopped_at = running.loop.time()
        log.info("attempt_stopped", task_id=str(running.task.id), attempt=running.task.attempt, reason=reason.value)
        if running.type.runs_in == "process" and running.began_at is not None and reason is not StopReason.TIMEOUT:
            running.ask_process_to_stop()
        elif running.is_awaited and (running.type.runs_in != "thread" or running.began_at is None):
            assert running.call is not None
            running.call.cancel()

    def close(self) -> None:
        """Tell every attempt to end because the worker stops, and begin no other."""
        self._is_closed = True
        for running in self:
            self.stop(running, StopReason.SHUTDOWN)

    async def watch_limits(self) -> None:
        """Hold attempts to their limits until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.check_limits(loop.time())
            except Exception:
                log.exception("limits_check_failed")

    def check_limits(self, now: float) -> None:
        """One look at all running attempts."""
        for running in self:
            if running.reported:
                continue
            if running.stop_reason is not None:
                if now - running.stopped_at > STOP_GRACE_S:
                    self._give_up(running)
            elif running.began_at is not None:
                self._check_timeouts(running, now - running.began_at)

    def _check_timeouts(self, running: Running, ran_s: float) -> None:
        if ran_s > running.timeout_s:
            self.stop(running, StopReason.TIMEOUT)
        elif not running.soft_timed_out and running.task.soft_timeout_s and ran_s > running.task.soft_timeout_s:
            running.soft_timed_out = True
            log.info("soft_timeout_passed", task_id=str(running.task.id), attempt=running.task.attempt)

    def _give_up(self, running: Running) -> None:
        """The handler did not end in time: kill its process, or leave it be and write its outcome."""
        log.warning("handler_did_not_stop", task_id=str(running.task.id), type=running.task.type)
        if running.type.runs_in == "process":
            assert running.call is not None
            running.call.cancel()
        self._report(running, running.report_of_stop())

    async def all_reported(self) -> None:
        """Return when every attempt has ended or was given up."""
        while not all(running.reported for running in self):
            self._has_reported.clear()
            await self._has_reported.wait()


def _attempt_files(shared: WorkerFiles, running: Running) -> AttemptFiles:
    task = running.task
    running.scratch = shared.scratch.of(task.id, task.attempt)
    running.files = AttemptFiles(
        shared.artifacts,
        task_id=task.id,
        attempt=task.attempt,
        scratch=running.scratch,
        find=partial(shared.finder.find_from_thread, loop=running.loop),
        loop=running.loop,
    )
    return running.files


def _log_tap(logs: TaskLogs, running: Running) -> LogTap:
    running.log_tap = LogTap(running.task.attempt, partial(logs.add, running.task))
    return running.log_tap


def _remove_scratch(running: Running) -> None:
    if (folder := running.scratch) is None or (running.files is not None and not running.files.used_scratch):
        return
    if running.type.runs_in == "process" and running.stop_reason is not None:
        running.loop.call_later(_SCRATCH_AGAIN_S, running.loop.run_in_executor, None, remove, folder)
    running.loop.run_in_executor(None, remove, folder)
