"""Tasks: submit, read, cancel, retry, explain."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator, Field

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep, TaskId, api_of, json_body, request_facts
from api_service.explaining import explain
from api_service.paging import ListQuery, Page, QueryMoment, QueueName, Word
from api_service.renewing import renew
from api_service.views import (
    AcceptedView,
    BatchView,
    CancelledView,
    CancelRequestedView,
    ExplanationView,
    RenewedView,
    TaskView,
)
from shared.domain.status import TaskStatus
from shared.domain.task import Accepted, document
from shared.store.tasks import TaskFilter

router: Final = APIRouter(tags=["tasks"])

_JSON: Final = "application/json"

Wait = Annotated[
    Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] | None,
    BeforeValidator(lambda text: text or None),
    Query(description="Hold the answer until the status is final, for at most so many seconds"),
]


class TaskListQuery(ListQuery):
    """Which tasks a list shows."""

    status: TaskStatus | None = None
    type: Word | None = None
    queue: QueueName | None = None
    tag: Word | None = None
    created_after: QueryMoment | None = None
    created_before: QueryMoment | None = None
    cursor: UUID | None = None

    def filter(self) -> TaskFilter:
        """The same for the store."""
        return TaskFilter(**self.model_dump(exclude={"limit", "cursor"}))


@router.post("/tasks", status_code=202, responses={202: {"model": AcceptedView}, 200: {"model": AcceptedView}})
async def submit_task(request: Request) -> Response:
    """Accept a task. A 202 means that it will reach a final status; a 200 names the one that was there already."""
    body = await json_body(request)
    accepted = await api_of(request).submitter.submit(body, request_facts(request, body))
    status = 200 if accepted.duplicate else 202
    return Response(_accepted(accepted), status, {"Location": f"/tasks/{accepted.task_id}"}, _JSON)


@router.post("/tasks/batch", status_code=202, responses={202: {"model": BatchView}})
async def submit_batch(request: Request) -> Response:
    """Accept all of up to 10,000 tasks, or none."""
    body = await json_body(request)
    answers = await api_of(request).submitter.submit_batch(body, request_facts(request, body))
    return Response(_batch(answers), 202, media_type=_JSON)


@router.get("/tasks", responses={200: {"model": Page[TaskView]}})
async def list_tasks(services: ServicesDep, query: Annotated[TaskListQuery, Query()]) -> Response:
    """Tasks, the newest first."""
    found = await services.store.tasks.page(query.filter(), limit=query.limit + 1, before=query.cursor)
    shown = found[: query.limit]
    cursor = shown[-1].id if len(found) > query.limit else None
    items = [orjson.Fragment(document(task)) for task in shown]
    return Response(_json({"items": items, "next": cursor}), media_type=_JSON)


@router.get("/tasks/{task_id}", responses={200: {"model": TaskView}, 304: {"description": "As it was"}})
async def get_task(request: Request, task_id: TaskId, wait: Wait = None) -> Response:
    """A task as it is now, or with `wait` as it is when it is done."""
    reader = api_of(request).reader
    if wait:
        task = await reader.read_when_final(task_id, within_s=wait, is_gone=request.is_disconnected)
    else:
        task = await reader.read(task_id)
    headers = {"ETag": f'"{task.version}"', "Cache-Control": "no-cache"}
    if _is_known(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, 304, headers)
    return Response(task.document, 200, headers, _JSON)


@router.delete("/tasks/{task_id}", responses={200: {"model": CancelledView}, 202: {"model": CancelRequestedView}})
async def cancel_task(services: ServicesDep, task_id: TaskId, audit: AuditDep) -> Response:
    """Cancel a task that has not started (200), or ask for the end of one that runs (202)."""
    await audit.note("task.cancel", target=task_id)
    moved = await services.store.lifecycle.cancel(task_id)
    services.publisher.offer(moved.rings)
    await services.news.tell(moved.tasks)
    [task] = moved.tasks
    if task.status == TaskStatus.CANCELLED:
        return Response(_json({"status": task.status}), media_type=_JSON)
    await services.news.signal_cancel(task_id)
    return Response(_json({"status": task.status, "cancel_requested": True}), 202, media_type=_JSON)


@router.post("/tasks/{task_id}/retry", status_code=202)
async def retry_task(services: ServicesDep, task_id: TaskId, audit: AuditDep) -> RenewedView:
    """Run a failed, cancelled or expired task again, with its attempts renewed."""
    await audit.note("task.retry", target=task_id)
    return await renew(services, task_id)


@router.get("/tasks/{task_id}/explain", responses={200: {"model": ExplanationView}})
async def explain_task(services: ServicesDep, task_id: TaskId) -> Response:
    """Why a task is not running, or that it is."""
    task = await services.store.tasks.get(task_id)
    return Response(_json(await explain(services, task)), media_type=_JSON)


#: These take the short way.
BUSIEST: Final = tuple(
    route
    for route in router.routes
    if isinstance(route, APIRoute) and route.endpoint in (submit_task, submit_batch, get_task)
)


def _is_known(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags


def _accepted(answer: Accepted) -> bytes:
    return _json(
        {
            "task_id": answer.task_id,
            "status": answer.status,
            "type": answer.type,
            "queue": answer.queue,
            "duplicate": answer.duplicate,
            "created_at": answer.created_at,
        }
    )


def _batch(answers: Sequence[Accepted]) -> bytes:
    items = [
        {"task_id": answer.task_id, "status": answer.status, "duplicate": answer.duplicate} for answer in answers
    ]
    return _json({"items": items})


def _json(value: Any) -> bytes:
    # The database driver has a UUID class of its own, which orjson doesn't know.
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)
