"""A file of a task or of a client: its name, its place in the store, and how clients see it."""

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote
from uuid import UUID

import orjson

from shared.errors import ArtifactNameError

MAX_NAME: Final = 200
#: What a file is when nobody says better: nothing that a browser would show.
OCTETS: Final = "application/octet-stream"

_TOKEN: Final = r"[A-Za-z0-9!#$&^_.+-]{1,80}"
_QUOTED: Final = r'"[\x20\x21\x23-\x5b\x5d-\x7e]{0,80}"'
_MEDIA_TYPE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}(?: ?; ?{_TOKEN}=(?:{_TOKEN}|{_QUOTED})){{0,4}}")
_UPLOAD_HREF: Final = "/artifacts/"
_TASK_HREF: Final = re.compile(r"/tasks/([^/]+)/artifacts/([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file in the artifact store.

    Attributes:
        name: How people call it; None for an upload without a name. It never becomes part of a path there.
        task_id: The task that made it, None for an upload.
        attempt: The attempt that made it, None for an upload.
        created_at: None until it is recorded.
    """

    id: UUID
    name: str | None
    media_type: str
    size_bytes: int
    task_id: UUID | None = None
    attempt: int | None = None
    created_at: datetime | None = None

    @property
    def key(self) -> str:
        """Where the store has it."""
        return artifact_key(self.id, self.task_id, self.attempt)

    @property
    def href(self) -> str:
        """Where the API serves it."""
        if self.task_id is None or self.name is None:
            return f"{_UPLOAD_HREF}{self.id}"
        return f"/tasks/{self.task_id}/artifacts/{quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True)
class InTask:
    """The file of a task that has a name."""

    task_id: UUID
    name: str

    def __str__(self) -> str:
        return f"{self.name!r} of task {self.task_id}"


def artifact_key(id_: UUID, task_id: UUID | None, attempt: int | None) -> str:
    """Where the store has a file. Made of ids alone, so that no name leads anywhere."""
    return f"uploads/{id_}" if task_id is None else f"tasks/{task_id}/{attempt}/{id_}"


def read_key(key: str) -> tuple[UUID, UUID | None, int | None] | None:
    """The id, task and attempt in a key, or None for what is not ours."""
    try:
        match key.split("/"):
            case ["uploads", id_] if artifact_key(UUID(id_), None, None) == key:
                return UUID(id_), None, None
            case ["tasks", task_id, attempt, id_] if (
                artifact_key(UUID(id_), UUID(task_id), int(attempt)) == key and 0 <= int(attempt) < 2**31
            ):
                return UUID(id_), UUID(task_id), int(attempt)
    except ValueError:
        return None
    return None


def read_source(source: str) -> UUID | InTask | None:
    """What a payload names: an artifact's id, or its href as the API shows it. None for anything else."""
    try:
        if found := _TASK_HREF.fullmatch(source):
            name = unquote(found[2], errors="strict")
            return InTask(UUID(found[1]), name) if is_name(name) else None
        return UUID(source.removeprefix(_UPLOAD_HREF))
    except ValueError:
        return None


def is_name(name: str) -> bool:
    """Whether an artifact may be called so."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name[0] != "." and not set(name) & set("/\\")


def require_name(name: str) -> None:
    """Do nothing if an artifact may be called so.

    Raises:
        ArtifactNameError: It may not.
    """
    if not is_name(name):
        raise ArtifactNameError(name, MAX_NAME)


def sane_media_type(declared: str | None) -> str | None:
    """The media type as it was declared, or None for what is none."""
    declared = (declared or "").strip()
    return declared if _MEDIA_TYPE.fullmatch(declared) else None


def guessed_media_type(name: str) -> str:
    """The media type that a name's ending stands for."""
    return mimetypes.guess_type(name)[0] or OCTETS


def artifacts_json(artifacts: Sequence[Artifact]) -> str | None:
    """The `artifacts` of a task as clients see them, as JSON text; None for none."""
    if not artifacts:
        return None
    return orjson.dumps(
        [
            {"name": file.name, "size": file.size_bytes, "media_type": file.media_type, "href": file.href}
            for file in artifacts
        ]
    ).decode()
