"""Files: those that clients upload, and those that tasks have made."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api_service.dependencies import ServicesDep, TaskId
from api_service.disposition import attachment, file_name
from api_service.problems import problem
from api_service.ranges import ByteRange, UnsatisfiableRangeError, read_range
from api_service.services import Services
from shared.domain.artifact import OCTETS, Artifact, InTask, is_name, sane_media_type
from shared.errors import ArtifactNotFoundError, ArtifactsUnavailableError, InvalidInputError, TaskmillError
from shared.ids import new_task_id

log = structlog.get_logger(__name__)
router: Final = APIRouter(tags=["artifacts"])

#: Seconds that PostgreSQL may be away before a client is told.
_PATIENCE_S: Final = 1.0
# Whatever it is, it is saved and not shown; and if a browser shows it all the same, it can do nothing.
_SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}
_UPLOAD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "description": "The bytes of the file, as they are",
        "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "Content-Disposition",
            "in": "header",
            "required": False,
            "description": 'The name of the file: `attachment; filename="data.csv"`',
            "schema": {"type": "string"},
        }
    ],
}
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The bytes that the header Range asks for"},
    304: {"description": "As it was"},
    416: {"description": "It has none of these bytes"},
}


class UploadView(BaseModel):
    """A file that was uploaded. Tasks take its `artifact_id` or its `href` in their payloads."""

    artifact_id: UUID
    size: int
    media_type: str
    href: str


async def _artifact_id(artifact_id: str) -> UUID:
    try:
        return UUID(artifact_id)
    except ValueError:
        raise ArtifactNotFoundError(artifact_id) from None


@router.post("/artifacts", status_code=201, openapi_extra=_UPLOAD_BODY)
async def upload(request: Request, response: Response, services: ServicesDep) -> UploadView:
    """Keep a file; the body is the file. It goes when it is older than finished tasks are kept."""
    _refuse_form(request)
    name = file_name(request.headers.get("content-disposition"))
    draft = Artifact(
        id=new_task_id(),
        name=name,
        media_type=sane_media_type(request.headers.get("content-type")) or OCTETS,
        size_bytes=0,
    )
    size_bytes = await services.artifacts.receive(draft.key, request.stream())
    kept = Artifact(id=draft.id, name=name, media_type=draft.media_type, size_bytes=size_bytes)
    await _record(services, kept)
    response.headers["Location"] = kept.href
    return UploadView(artifact_id=kept.id, size=size_bytes, media_type=kept.media_type, href=kept.href)


@router.head("/artifacts/{artifact_id}", include_in_schema=False)
@router.get("/artifacts/{artifact_id}", response_class=Response, responses=_FILE)
async def download(
    request: Request, services: ServicesDep, artifact_id: Annotated[UUID, Depends(_artifact_id)]
) -> Response:
    """A file by its id, or the part of it that the header Range asks for."""
    return await _answer(request, services, await _find(services, artifact_id))


@router.head("/tasks/{task_id}/artifacts/{name}", include_in_schema=False)
@router.get("/tasks/{task_id}/artifacts/{name}", response_class=Response, responses=_FILE)
async def download_from_task(request: Request, services: ServicesDep, task_id: TaskId, name: str) -> Response:
    """A file that a task has made, or the part of it that the header Range asks for."""
    if not is_name(name):
        raise ArtifactNotFoundError(f"of this name in task {task_id}")
    return await _answer(request, services, await _find(services, InTask(task_id, name)))


def _refuse_form(request: Request) -> None:
    # It would be kept with the boundaries of the form around it, and no task could read it.
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        fault = "send the file itself as the body and not in a form: curl --data-binary @FILE in place of -F"
        raise InvalidInputError([("Content-Type", fault)])


async def _record(services: Services, upload: Artifact) -> None:
    store = services.store
    try:
        await store.database.persist(lambda: store.artifacts.add_upload(upload), for_s=_PATIENCE_S)
    except TaskmillError:
        await _discard(services, upload)
        raise


async def _discard(services: Services, upload: Artifact) -> None:
    try:
        await services.artifacts.delete([upload.key])
    except ArtifactsUnavailableError as error:  # without a record the sweep will find it
        log.warning("upload_left_to_the_sweep", key=upload.key, reason=str(error))


async def _find(services: Services, wanted: UUID | InTask) -> Artifact:
    store = services.store
    return await store.database.persist(lambda: store.artifacts.find(wanted), for_s=_PATIENCE_S)


async def _answer(request: Request, services: Services, file: Artifact) -> Response:
    etag = f'"{file.id}"'  # a file never changes
    headers = {**_SAFE, "ETag": etag, "Content-Disposition": attachment(file.name)}
    if _names(request.headers.get("if-none-match"), etag):
        return Response(None, 304, headers)
    try:
        part = _wanted_part(request, etag, file)
    except UnsatisfiableRangeError:
        unsatisfied = {**headers, "Content-Range": f"bytes */{file.size_bytes}"}
        return problem(416, "range_not_satisfiable", f"the file has {file.size_bytes} bytes", headers=unsatisfied)
    sent = part or ByteRange(0, file.size_bytes)
    headers |= {"Content-Length": str(sent.size_bytes), "Content-Type": file.media_type}
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size_bytes}"
    chunks = await _open(services, file, sent if request.method == "GET" else ByteRange(0, 0))
    return StreamingResponse(chunks, 200 if part is None else 206, headers)


def _wanted_part(request: Request, etag: str, file: Artifact) -> ByteRange | None:
    condition = request.headers.get("if-range")
    if request.method != "GET" or condition not in (None, etag):
        return None
    return read_range(request.headers.get("range"), file.size_bytes)


async def _open(services: Services, file: Artifact, part: ByteRange) -> AsyncIterator[bytes]:
    try:
        return await services.artifacts.read(file.key, start=part.start, stop=part.stop)
    except ArtifactNotFoundError as error:
        log.warning("artifact_without_file", key=file.key)
        raise ArtifactNotFoundError(f"{file.id}: its file is gone") from error


def _names(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags
