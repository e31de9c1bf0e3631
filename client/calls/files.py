"""Files: those that tasks have made, and those that tasks shall read."""

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from client.calls.call import Call, as_model, as_nothing, get, path, send
from client.models import Artifact

#: Bytes that are read or written at once.
CHUNK_BYTES: Final = 256 * 1024
_ANY: Final = "application/octet-stream"


def upload(name: str | None, media_type: str | None) -> Call[Artifact]:
    """Upload a file; its bytes are the client's to stream."""
    guessed = mimetypes.guess_type(name)[0] if name else None
    headers = {"Content-Type": media_type or guessed or _ANY}
    if name:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return send("POST", path("artifacts"), as_model(Artifact), headers=headers, is_repeatable=False)


def download(artifact_id: str) -> Call[None]:
    """An uploaded file."""
    return _bytes(path("artifacts", artifact_id))


def download_of_task(task_id: str, name: str) -> Call[None]:
    """A file that a task has made."""
    return _bytes(path("tasks", task_id, "artifacts", name))


@contextmanager
def reading(source: str | Path | BinaryIO) -> Iterator[tuple[BinaryIO, str | None]]:
    """Where to read a file from, and what it is called if it has a name."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            yield file, Path(source).name
    else:
        yield source, None


@contextmanager
def writing(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Where to write a file to. A path names it only once it is whole: nobody shall take half of it for all."""
    if not isinstance(target, str | Path):
        yield target
        return
    growing = Path(target).with_name(f"{Path(target).name}.part")
    try:
        with growing.open("wb") as file:
            yield file
        growing.replace(target)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise


def _bytes(where: str) -> Call[None]:
    return replace(get(where, as_nothing), headers={"Accept": "*/*"})
