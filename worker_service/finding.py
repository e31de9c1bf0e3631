"""Finds what handlers fetch: from the loop, from threads, and for the processes of the pool."""

import asyncio
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import orjson
import structlog

from shared.domain.artifact import Artifact, read_source
from shared.errors import ArtifactNotFoundError, DatabaseUnavailableError, TaskmillError

if TYPE_CHECKING:  # the processes of the pool ask, and have no store
    from shared.store.store import Store

log = structlog.get_logger(__name__)

#: Seconds that PostgreSQL may be away before the attempt fails for it.
_PATIENCE_S: Final = 10.0
#: Characters of a source that are sent; no artifact has a longer one.
_MAX_SOURCE: Final = 4_000

#: A line between a process of the pool and its worker; what stands in it are JSON objects.
Line = Connection


class ArtifactFinder:
    """Finds the records of artifacts."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def find(self, source: str) -> Artifact:
        """The artifact of this id or href.

        Raises:
            ArtifactNotFoundError: There is none.
            DatabaseUnavailableError: PostgreSQL is away.
        """
        wanted = read_source(source)
        if wanted is None:
            raise ArtifactNotFoundError(source)
        return await self._store.database.persist(lambda: self._store.artifacts.find(wanted), for_s=_PATIENCE_S)

    def find_from_thread(self, source: str, loop: asyncio.AbstractEventLoop) -> Artifact:
        """The same for a thread that may wait for it."""
        return asyncio.run_coroutine_threadsafe(self.find(source), loop).result()


class Lookups:
    """Answers the processes of the pool, which have no connection to PostgreSQL. One line for each slot.

    A process that is killed may leave an answer behind in its line; each answer names its question, so that the
    next process in the slot passes over it.
    """

    def __init__(self, finder: ArtifactFinder) -> None:
        self._finder = finder
        self._lines: Sequence[Line[bytes, bytes]] = ()
        self._answering: set[asyncio.Task[None]] = set()

    def listen(self, lines: "Sequence[Line[bytes, bytes]]") -> None:
        """Answer what comes in on these lines, and on those of an earlier pool no more, until `close`."""
        self.close()
        self._lines = lines
        for line in lines:
            asyncio.get_running_loop().add_reader(line.fileno(), self._take, line)

    def close(self) -> None:
        """Answer nothing more."""
        for line in self._lines:
            asyncio.get_running_loop().remove_reader(line.fileno())
            line.close()
        self._lines = ()

    def _take(self, line: "Line[bytes, bytes]") -> None:
        if not line.poll():
            return
        question = orjson.loads(line.recv_bytes())
        answering = asyncio.create_task(self._answer(line, question))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, line: "Line[bytes, bytes]", question: dict[str, str]) -> None:
        answer: dict[str, Any] = {"id": question["id"]}
        try:
            answer["artifact"] = _as_json(await self._finder.find(question["source"]))
        except ArtifactNotFoundError:
            answer["artifact"] = None
        except DatabaseUnavailableError as error:
            log.warning("lookup_failed", reason=str(error))
            answer["error"] = str(error)
        except Exception as error:
            log.exception("lookup_failed")  # the process waits for an answer all the same
            answer["error"] = repr(error)
        if not line.closed:
            line.send_bytes(orjson.dumps(answer))


class Asking:
    """The other end of a line: asks the worker and waits for its answer."""

    def __init__(self, line: "Line[bytes, bytes]") -> None:
        self._line = line
        self._lock = threading.Lock()

    def find(self, source: str) -> Artifact:
        """The artifact of this id or href. Raises what `ArtifactFinder.find` does."""
        question = {"id": uuid4().hex, "source": source[:_MAX_SOURCE].encode("utf-8", "replace").decode()}
        with self._lock:
            self._line.send_bytes(orjson.dumps(question))
            while (answer := orjson.loads(self._line.recv_bytes()))["id"] != question["id"]:
                pass
        if "error" in answer:
            raise TaskmillError(answer["error"])
        if answer["artifact"] is None:
            raise ArtifactNotFoundError(source)
        return _from_json(answer["artifact"])


def _as_json(artifact: Artifact) -> dict[str, Any]:
    return {
        "id": str(artifact.id),
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "task_id": None if artifact.task_id is None else str(artifact.task_id),
        "attempt": artifact.attempt,
    }


def _from_json(fields: dict[str, Any]) -> Artifact:
    task_id = fields["task_id"] and UUID(fields["task_id"])
    return Artifact(**{**fields, "id": UUID(fields["id"]), "task_id": task_id})
