"""One attempt in progress: its limits, why it is to stop, and what is left to do for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from shared.domain.artifact import Artifact
from shared.domain.outcome import Cancelled, Failed, Failure, Interrupted, Report
from shared.domain.task import TaskRecord
from worker_service.files import AttemptFiles
from worker_service.registry import TaskType
from worker_service.task_log import LogTap


class StopReason(Enum):
    """Why an attempt is stopped from outside."""

    CANCEL = "cancel"  # a person asked for it
    TIMEOUT = "timeout"  # its hard limit has passed
    SHUTDOWN = "shutdown"  # the worker is stopping
    LOST = "lost"  # by the record it no longer runs here


@dataclass(eq=False, slots=True)
class Running:
    """An attempt from its claim until its outcome is written and its handler has really ended.

    Attributes:
        task: The row as it was claimed.
        on_settled: Called once, when the outcome is written: the message is done with this task.
        on_free: Called once, when the handler has ended: its slot is free.
        began_at: Loop time at which the handler began, None while it waits for a thread or process.
        took_s: Seconds for which the handler ran, once it has ended in this process by itself. The loop's time is no
            measure of that: it stands still while many short handlers have their turns.
        stop_reason: Why it was told to stop, None while it may go on. Only the first reason counts.
        stopped_at: Loop time at which it was told to stop.
        progress: The latest report that is not stored yet, as JSON text.
        reported: Whether its outcome is decided; what the handler still does no longer counts.
        is_awaited: Whether anything was done for it yet; cancelled before, its call would not even say so.
        in_thread: Whether a thread runs its handler at this moment.
        files: The files of a handler in this process, once it has asked for any.
        artifacts_of_process: What a process of the pool has stored.
        scratch: The folder that the attempt may make, once it is known.
        log_tap: Takes what a handler in this process says, once it has said anything.
        seen_in_record: Whether a heartbeat has found it in PostgreSQL as running here.
    """

    task: TaskRecord
    type: TaskType
    timeout_s: float
    on_settled: Callable[[], None]
    on_free: Callable[[], None]
    began_at: float | None = None
    took_s: float | None = None
    stop_reason: StopReason | None = None
    stopped_at: float = 0.0
    soft_timed_out: bool = False
    progress: str | None = None
    handler_ended: bool = False
    written: bool = False
    reported: bool = False
    is_awaited: bool = False
    in_thread: bool = False
    seen_in_record: bool = False
    files: AttemptFiles | None = None
    artifacts_of_process: tuple[Artifact, ...] = ()
    scratch: Path | None = None
    log_tap: LogTap | None = None
    call: asyncio.Task[None] | None = None
    ask_process_to_stop: Callable[[], None] = lambda: None
    # These are given the attempt. If they held it, it would hold itself, and wait for the garbage collector.
    on_over: Callable[["Running"], None] = lambda _: None
    on_ended: Callable[["Running"], None] = lambda _: None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    @property
    def stopped(self) -> bool:
        """Whether the handler is to end now. Read from any thread."""
        return self.stop_reason is not None

    @property
    def ran_s(self) -> float | None:
        """Seconds for which the handler ran, or has run until now; None where it has not begun."""
        if self.took_s is not None or self.began_at is None:
            return self.took_s
        return self.loop.time() - self.began_at

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The files that the attempt has stored so far."""
        return self.artifacts_of_process if self.files is None else self.files.made

    def report_progress(self, progress: str) -> None:
        """Take a report of the handler, from any thread."""
        self.progress = progress

    def report_of_stop(self) -> Report:
        """What an attempt that ended because it was told to reports."""
        match self.stop_reason:
            case StopReason.CANCEL:
                return Cancelled()
            case StopReason.TIMEOUT:
                return Failed(Failure("timeout", f"ran longer than its timeout of {self.timeout_s:g} s"))
            case _:
                return Interrupted()

    def mark_written(self) -> None:
        """Its outcome is in PostgreSQL, or was refused there."""
        self.written = True
        self.on_settled()
        self._close_if_over()

    def mark_ended(self) -> None:
        """Its handler runs no more."""
        if not self.handler_ended:
            self.handler_ended = True
            self.on_ended(self)
            self.on_free()
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self.written and self.handler_ended:
            self.on_over(self)
