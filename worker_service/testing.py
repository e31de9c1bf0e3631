"""Testing tasks without any service: run a handler with a context that records what it says."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from shared import jsontext
from shared.artifacts import ArtifactStore
from shared.domain.artifact import OCTETS, Artifact, is_name
from shared.errors import ArtifactNotFoundError
from shared.ids import new_task_id
from worker_service.context import TaskContext
from worker_service.files import AttemptFiles
from worker_service.registry import registry
from worker_service.task_log import LogTap


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that the handler submitted."""

    type: str
    payload: Any
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the handler kept with `ctx.artifact`."""

    media_type: str
    data: bytes


@dataclass(slots=True)
class Run:
    """What one attempt did.

    Attributes:
        result: What the handler returned, as JSON would show it.
        progress: Every report, as clients would see it.
        log: The lines that clients would see, `info` and above.
        submitted: The tasks it submitted.
        artifacts: The files it kept, by their names.
        marks: The steps it marked, in order.
    """

    result: Any = None
    progress: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    submitted: list[Submitted] = field(default_factory=list)
    artifacts: dict[str, Kept] = field(default_factory=dict)
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
    files: Mapping[str, bytes | Path] | None = None,
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
        files: What `ctx.fetch` finds: the content of each source, be it an id or an href.

    Raises:
        TaskDefinitionError: The function has no `@task` decorator.
        ValidationError: The payload does not fit the annotation.
    """
    task_type = registry.of(handler)
    run = Run()

    async def submit(type_: str, sent: Any, options: dict[str, Any]) -> UUID:
        run.submitted.append(Submitted(type_, sent, options))
        return new_task_id()

    async def call(kept: _FileFolder) -> Any:
        loop, task_id = asyncio.get_running_loop(), new_task_id()
        attempt_files = kept.attempt_files(task_id, attempt, loop)
        ctx = TaskContext(
            task_id=task_id,
            attempt=attempt,
            queue=task_type.info.queue,
            signals=signals or FakeSignals(),
            report_progress=lambda text: run.progress.append(jsontext.loads(text)),
            log_tap=lambda: LogTap(attempt, lambda line: run.log.append(jsontext.loads(line))),
            submit=submit,
            marks=_RecordedMarks(frozenset(marks), run),
            files=lambda: attempt_files,
            loop=loop,
        )
        sent = task_type.payload.validate_python(jsontext.loads(jsontext.dumps({} if payload is None else payload)))
        if task_type.runs_in == "loop":
            result = await task_type.handler(sent, ctx)
            if error := await attempt_files.settled():
                raise error
        else:
            result = await asyncio.to_thread(task_type.handler, sent, ctx)
        run.artifacts = kept.content_of(attempt_files)
        return result

    with TemporaryDirectory(prefix="taskmill-run-task-") as folder:
        returned = _in_a_loop_of_its_own(lambda: call(_FileFolder(Path(folder), files or {})))
    run.result = jsontext.loads(jsontext.dumps(task_type.result.dump_python(returned, mode="python")))
    return run


class _FileFolder:
    """The files of one run, in a folder of the test's own."""

    def __init__(self, folder: Path, files: Mapping[str, bytes | Path]) -> None:
        self._folder = folder
        self._artifacts = ArtifactStore((folder / "artifacts").as_uri())
        self._sources: dict[str, Artifact] = {}
        for source, data in files.items():
            name = unquote(source.rsplit("/", 1)[-1])
            artifact = Artifact(
                id=new_task_id(), name=name if is_name(name) else None, media_type=OCTETS, size_bytes=0
            )
            self._artifacts.save(artifact.key, data)
            self._sources[source] = artifact

    def attempt_files(self, task_id: UUID, attempt: int, loop: asyncio.AbstractEventLoop) -> AttemptFiles:
        """What the context of the run works with."""
        return AttemptFiles(
            self._artifacts,
            task_id=task_id,
            attempt=attempt,
            scratch=self._folder / "scratch",
            find=self._find,
            loop=loop,
        )

    def content_of(self, files: AttemptFiles) -> dict[str, Kept]:
        """What was kept."""
        target = self._folder / "content"
        kept: dict[str, Kept] = {}
        for artifact in files.made:
            self._artifacts.load(artifact.key, target)
            kept[artifact.name or ""] = Kept(artifact.media_type, target.read_bytes())
        return kept

    def _find(self, source: str) -> Artifact:
        if source not in self._sources:
            raise ArtifactNotFoundError(source)
        return self._sources[source]


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
