"""Processes for `cpu=True` handlers: they can be killed, and their death is only that attempt's failure."""

import asyncio
import ctypes
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog
from pebble import ProcessExpired, ProcessPool

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact
from shared.domain.outcome import Failed, Failure, Report
from shared.telemetry.logging import configure_logging
from worker_service.calling import call_blocking
from worker_service.context import TaskContext
from worker_service.dying import die_with
from worker_service.files import AttemptFiles
from worker_service.finding import Asking, Lookups
from worker_service.registry import TaskType, import_task_modules, registry
from worker_service.task_log import LogTap

log = structlog.get_logger(__name__)

#: What a process says of its attempt.
_BEGUN: Final = "begun"
_PROGRESS: Final = "progress"
_LINE: Final = "log"
#: Reports of progress that are read in one go: a handler that never stops reporting must not hold up the loop.
_MORE_THAN_FITS_A_PIPE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Setup:
    """What a process of the pool needs to know before its first attempt.

    Attributes:
        modules: Those that make all types known.
    """

    modules: tuple[str, ...]
    log_format: str
    log_level: str
    worker_id: str
    artifacts_url: str


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt, as it is sent to a process. `module` is the handler's."""

    type: str
    module: str
    payload: str
    task_id: UUID
    attempt: int
    queue: str
    request_id: str | None
    submitted_by: str | None
    soft_timeout_s: float | None
    slot: int
    scratch: Path


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How one attempt ended, and the files it has stored."""

    report: Report
    artifacts: tuple[Artifact, ...] = ()


class HandlerProcesses:
    """A pool of processes, started with the first job.

    Args:
        size: How many processes.
        on_begun: Called on the event loop with (task_id, attempt, "") when a process calls the handler.
        on_progress: The same with progress as JSON text.
        on_line: The same with log lines.
        lookups: Answers the processes where the artifacts are that their handlers fetch.
    """

    def __init__(
        self,
        size: int,
        setup: Setup,
        *,
        on_begun: Callable[[UUID, int, str], None],
        on_progress: Callable[[UUID, int, str], None],
        on_line: Callable[[UUID, int, str], None],
        lookups: Lookups,
    ) -> None:
        self._size = size
        self._setup = setup
        self._on = {_BEGUN: on_begun, _PROGRESS: on_progress, _LINE: on_line}
        self._lookups = lookups
        self._pool: ProcessPool | None = None
        # A fresh interpreter: a fork would copy the locks of our threads.
        self._context = multiprocessing.get_context("spawn")
        self._stop_flags: Any = None
        self._readers: list[Connection[bytes, bytes]] = []
        self._writers: list[Connection[bytes, bytes]] = []
        self._askers: list[Connection[bytes, bytes]] = []
        self._free_slots = list(range(size))
        self._slots = asyncio.Semaphore(size)

    def __repr__(self) -> str:
        return f"<HandlerProcesses {self._size - len(self._free_slots)} of {self._size} busy>"

    async def run(self, make_job: Callable[[int], Job], on_placed: Callable[[], None]) -> JobEnd:
        """Run one job in a process, once one is free. Cancelling this kills the process.

        Args:
            make_job: Makes the job for a slot, by whose number `ask_to_stop` reaches it.
            on_placed: Called when a process is free; it may have to be started yet.
        """
        async with self._slots:
            slot = self._free_slots.pop()
            try:
                on_placed()
                return await self._run_in(make_job(slot), slot)
            finally:
                self._free_slots.append(slot)

    def ask_to_stop(self, slot: int) -> None:
        """Let `ctx.cancelled` be true in the job of a slot."""
        if self._stop_flags is not None:
            self._stop_flags[slot] = 1

    async def close(self) -> None:
        """Kill what runs and end the pool. Takes up to a few seconds."""
        for reader in self._readers:
            asyncio.get_running_loop().remove_reader(reader.fileno())
        self._lookups.close()
        await asyncio.to_thread(self._end_pool)
        for connection in (*self._readers, *self._writers, *self._askers):
            connection.close()
        self._readers, self._writers, self._askers = [], [], []

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None

    async def _run_in(self, job: Job, slot: int) -> JobEnd:
        if self._pool is None or not self._pool.active:
            self._start()
        self._stop_flags[slot] = 0
        assert self._pool is not None
        future = self._pool.schedule(_run_job, args=(job,))
        end: JobEnd
        try:
            end = await asyncio.wrap_future(future)
        except ProcessExpired as error:
            end = JobEnd(
                Failed(Failure("process_died", f"the process of the handler ended with status {error.exitcode}"))
            )
        except asyncio.CancelledError:
            future.cancel()  # type: ignore[no-untyped-call]
            raise
        # The report came by another way and may have overtaken the last words on progress.
        self._forward(self._readers[slot])
        return end

    def _start(self) -> None:
        self._stop_flags = self._context.RawArray(ctypes.c_byte, self._size)
        # A pipe for each slot rather than one queue for all: a queue has a lock, and a process that is killed
        # while it holds the lock would silence the others for ever.
        pipes = [self._context.Pipe(duplex=False) for _ in range(self._size)]
        lines = [self._context.Pipe(duplex=True) for _ in range(self._size)]
        self._pool = ProcessPool(
            max_workers=self._size,
            context=self._context,
            initializer=_set_up,
            initargs=(
                self._setup,
                os.getpid(),
                self._stop_flags,
                [writer for _, writer in pipes],
                [asker for _, asker in lines],
            ),
        )
        self._askers = [asker for _, asker in lines]
        self._lookups.listen([answerer for answerer, _ in lines])
        self._writers = [writer for _, writer in pipes]  # kept open: a new process gets them too
        self._readers = [reader for reader, _ in pipes]
        for reader in self._readers:
            asyncio.get_running_loop().add_reader(reader.fileno(), self._forward, reader)

    def _forward(self, reader: "Connection[bytes, bytes]") -> None:
        for _ in range(_MORE_THAN_FITS_A_PIPE):
            if not reader.poll():
                break
            kind, task_id, attempt, text = reader.recv_bytes().decode().split(" ", 3)
            self._on[kind](UUID(task_id), int(attempt), text)


# In the processes ...................................................................


class _Signals:
    """Flags of one job: the worker sets one in shared memory, a timer of the process the other."""

    def __init__(self, flags: Any, slot: int, soft_timeout_s: float | None) -> None:
        self._flags = flags
        self._slot = slot
        self.soft_timed_out = False
        self._timer = threading.Timer(soft_timeout_s, self._time_out) if soft_timeout_s else None
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    @property
    def stopped(self) -> bool:
        return bool(self._flags[self._slot])

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        self.soft_timed_out = True


_flags: Any = None
_writers: "list[Connection[bytes, bytes]]" = []
_askers: list[Asking] = []
_artifacts: ArtifactStore | None = None
_modules: tuple[str, ...] = ()


def _set_up(
    setup: Setup,
    worker_pid: int,
    flags: Any,
    writers: "list[Connection[bytes, bytes]]",
    askers: "list[Connection[bytes, bytes]]",
) -> None:
    global _flags, _writers, _askers, _artifacts, _modules
    # An attempt must not go on when its worker was killed: it will run again elsewhere.
    die_with(worker_pid)
    _flags, _writers = flags, writers
    _askers, _artifacts = [Asking(line) for line in askers], ArtifactStore(setup.artifacts_url)
    configure_logging(format_=setup.log_format, level=setup.log_level, service="worker")
    structlog.contextvars.bind_contextvars(worker=setup.worker_id)
    _modules = setup.modules


def _type_of(job: Job) -> TaskType:
    # The handler's module alone: the others need what no process has, connections to servers above all.
    import_task_modules([job.module])
    try:
        return registry.get(job.type)
    except KeyError:  # another module than the function's own made it a task
        import_task_modules(_modules)
        return registry.get(job.type)


def _run_job(job: Job) -> JobEnd:
    assert _artifacts is not None
    task_type = _type_of(job)
    writer = _writers[job.slot]
    files = AttemptFiles(
        _artifacts, task_id=job.task_id, attempt=job.attempt, scratch=job.scratch, find=_askers[job.slot].find
    )
    signals = _Signals(_flags, job.slot, job.soft_timeout_s)

    def say(kind: str, text: str) -> None:
        writer.send_bytes(f"{kind} {job.task_id} {job.attempt} {text}".encode())

    log_tap = LogTap(job.attempt, partial(say, _LINE))
    ctx = TaskContext(
        task_id=job.task_id,
        attempt=job.attempt,
        queue=job.queue,
        signals=signals,
        report_progress=partial(say, _PROGRESS),
        files=lambda: files,
        log_tap=lambda: log_tap,
    )
    caller = {} if job.submitted_by is None else {"caller": job.submitted_by}
    with structlog.contextvars.bound_contextvars(
        task_id=str(job.task_id), attempt=job.attempt, request_id=job.request_id, **caller
    ):
        say(_BEGUN, "")
        try:
            report = call_blocking(task_type, job.payload, ctx)
            return JobEnd(report, files.made)
        finally:
            log_tap.close()
            signals.close()
