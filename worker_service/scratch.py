"""Temporary folders of attempts, which are gone when the attempt is, even if its process was killed."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import structlog

log = structlog.get_logger(__name__)

_PREFIX: Final = "taskmill-scratch-"
_LOCK: Final = "lock"


class Scratch:
    """The folder in which the attempts of one worker have theirs. Made when the first attempt wants one.

    Args:
        parent: Where it is made; None for the system's folder for temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        self._parent = parent
        self._folder = parent / f"{_PREFIX}{uuid4().hex}"
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"<Scratch {self._folder}>"

    def open(self) -> None:
        """Make the folder, and remove those of workers that were killed. Blocks: call it in a thread.

        Raises:
            OSError: It can't be made.
        """
        # Under another name until it is locked: a worker that starts now would take it for abandoned.
        unlocked = self._parent / f".{self._folder.name}"
        unlocked.mkdir(mode=0o700)
        self._lock = os.open(unlocked / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self._folder)
        for folder in self._parent.glob(f"{_PREFIX}*"):
            if folder != self._folder and _is_abandoned(folder):
                log.info("abandoned_scratch_removed", folder=str(folder))
                shutil.rmtree(folder, ignore_errors=True)

    def of(self, task_id: UUID, attempt: int) -> Path:
        """Where an attempt may make its folder; no two attempts share one."""
        return self._folder / f"{task_id}-{attempt}-{uuid4().hex[:8]}"

    def close(self) -> None:
        """Remove everything. Blocks."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove(folder: Path) -> None:
    """Remove an attempt's folder, if it made one. Blocks."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            log.warning("scratch_left", folder=str(folder))


def _is_abandoned(folder: Path) -> bool:
    """Whether the worker that made it is gone: its lock went with it."""
    with suppress(OSError):
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True
    return False  # not locked yet, another user's, or gone
