"""The files of one attempt: those it makes, those it reads, and its folder for everything in between."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact, guessed_media_type, require_name, sane_media_type
from shared.errors import ArtifactNameError, ArtifactNotFoundError, ArtifactsUnavailableError, TaskmillError
from shared.ids import new_task_id
from worker_service.errors import Permanent
from worker_service.finding import ArtifactFinder
from worker_service.scratch import Scratch

log = structlog.get_logger(__name__)

#: Artifacts that one attempt may make: all of them are listed wherever the task is shown.
_MAX_ARTIFACTS: Final = 1_000
#: Bytes of a file name on every file system.
_MAX_FILE_NAME_BYTES: Final = 200

#: Finds the record of an artifact; blocks.
Find = Callable[[str], Artifact]
Data = bytes | bytearray | memoryview | PathLike[str]


@dataclass(frozen=True, slots=True)
class _Made:
    turn: int
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class WorkerFiles:
    """What all attempts of a worker share: the store, the records of what is in it, and a folder."""

    artifacts: ArtifactStore
    finder: ArtifactFinder
    scratch: Scratch


class AttemptFiles:
    """What stands behind `ctx.artifact`, `ctx.fetch` and `ctx.scratch`.

    Args:
        artifacts: Where files are kept.
        task_id: The task.
        attempt: The attempt; its files never meet those of another.
        scratch: The folder of the attempt, not made yet. Whoever made up its name removes it.
        find: Finds what `fetch` is asked for.
        loop: The loop of an `async def` handler: what is called there does its work in threads.

    Attributes:
        used_scratch: Whether the folder was asked for.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        *,
        task_id: UUID,
        attempt: int,
        scratch: Path,
        find: Find,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._task_id = task_id
        self._attempt = attempt
        self._scratch = scratch
        self.used_scratch = False
        self._find = find
        self._loop = loop
        self._lock = threading.Lock()
        self._turns = 0
        self._made: dict[str, _Made] = {}
        self._saving: list[Saving] = []

    # Making .........................................................................

    @property
    def made(self) -> tuple[Artifact, ...]:
        """What is stored so far. Read from any thread."""
        with self._lock:
            return tuple(made.artifact for made in self._made.values())

    def keep(self, name: str, data: Data, media_type: str | None) -> Awaitable[None]:
        """Store a file: at once, or on the loop of an `async def` handler until what is returned is awaited."""
        source = _source(data)
        kind = _checked(name, media_type)
        with self._lock:
            self._turns += 1
            turn = self._turns
        if self._loop is None or not _runs_on(self._loop):
            self._save(name, source, kind, turn)
            return Nothing()
        saving = Saving(asyncio.create_task(asyncio.to_thread(self._save, name, source, kind, turn)))
        self._saving.append(saving)
        return saving

    async def settled(self) -> BaseException | None:
        """Wait for what the handler did not await, and return what went wrong with that, if anything did."""
        errors = [await saving.outcome() for saving in self._saving if not saving.is_awaited]
        return next((error for error in errors if error is not None), None)

    def abandon(self) -> None:
        """Wait for nothing any more: the attempt was cancelled."""
        for saving in self._saving:
            saving.cancel()

    def _save(self, name: str, source: bytes | Path, media_type: str, turn: int) -> None:
        draft = Artifact(
            id=new_task_id(),
            name=name,
            media_type=media_type,
            size_bytes=0,
            task_id=self._task_id,
            attempt=self._attempt,
        )
        size_bytes = self._artifacts.save(draft.key, source)
        superseded = self._note(_Made(turn, replace(draft, size_bytes=size_bytes)))
        if superseded is not None:
            self._discard(superseded)

    def _note(self, made: _Made) -> Artifact | None:
        """Remember a file, and return the one of the same name that was asked for before it."""
        assert made.artifact.name is not None
        with self._lock:
            other = self._made.get(made.artifact.name)
            if other is None and len(self._made) >= _MAX_ARTIFACTS:
                raise Permanent(f"an attempt can make {_MAX_ARTIFACTS} artifacts at most: put many into an archive")
            if other is not None and other.turn > made.turn:
                return made.artifact
            self._made[made.artifact.name] = made
            return None if other is None else other.artifact

    def _discard(self, artifact: Artifact) -> None:
        try:
            self._artifacts.discard(artifact.key)
        except ArtifactsUnavailableError as error:  # the sweep will find it
            log.info("superseded_artifact_left", key=artifact.key, reason=str(error))

    # Reading ........................................................................

    def fetch(self, source: str) -> Path:
        """A copy of an artifact in the attempt's folder. Blocks."""
        if self._loop is not None and _runs_on(self._loop):
            raise TaskmillError("fetch_blocking would stop the event loop: use 'await ctx.fetch(…)' in async def")
        try:
            artifact = self._find(str(source))
            folder = self.scratch / f"{artifact.id}-{new_task_id().hex[-8:]}"
            folder.mkdir()
            path = folder / _file_name(artifact)
            self._artifacts.load(artifact.key, path)
        except ArtifactNotFoundError as error:
            raise Permanent(f"there is no artifact {str(source)[:300]!r}: it was never made, or is gone") from error
        return path

    @property
    def scratch(self) -> Path:
        """The folder of the attempt, made now if it is not there yet."""
        self.used_scratch = True
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._scratch


class Saving:
    """An artifact that is being stored. Awaiting it raises what went wrong."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task
        self.is_awaited = False

    def __await__(self) -> Generator[Any, None, None]:
        self.is_awaited = True
        # A handler that is cancelled while it waits for its file has not taken it back.
        yield from asyncio.shield(self._task).__await__()

    async def outcome(self) -> BaseException | None:
        """What went wrong, once it is over."""
        await asyncio.wait([self._task])
        return asyncio.CancelledError() if self._task.cancelled() else self._task.exception()

    def cancel(self) -> None:
        """Wait no more; nobody will ask for the outcome."""
        self._task.cancel()
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())


class Nothing:
    """Awaited, lets other handlers run; thrown away, does nothing."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(0).__await__()


def _runs_on(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _source(data: Data) -> bytes | Path:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, PathLike):
        return Path(data)
    raise TypeError(f"an artifact is made of bytes or of a file's Path, not of {type(data).__name__}")


def _checked(name: str, media_type: str | None) -> str:
    try:
        require_name(name)
    except ArtifactNameError as error:
        raise Permanent(str(error)) from None
    if media_type is None:
        return guessed_media_type(name)
    if (sane := sane_media_type(media_type)) is None:
        raise Permanent(f"{media_type[:100]!r} is no media type, like text/csv")
    return sane


def _file_name(artifact: Artifact) -> str:
    """The artifact's own name, where the file system can take it."""
    name = artifact.name or "artifact"
    if len(name.encode()) <= _MAX_FILE_NAME_BYTES:
        return name
    return "artifact" + "".join(suffix for suffix in Path(name).suffixes[-1:] if len(suffix.encode()) <= 20)
