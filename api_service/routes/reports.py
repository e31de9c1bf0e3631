"""Reports: a small API of an application's own on top of Taskmill, and an example of one.

What an application does to have routes in its own words is all here: it hands the body on as the payload of a task,
translates the places that a refusal names, and shows the part of the task that its users care for.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from api_service.dependencies import api_of, json_body, optional_json_body, request_facts
from api_service.problems import RETRY_SOON, problem
from api_service.report_views import DUMMY_EXAMPLES, HEAVY_EXAMPLES, JobAcceptedView, JobView
from shared.domain.task import Accepted
from shared.errors import InvalidInputError, TaskNotFoundError

router: Final = APIRouter(tags=["reports"])

_TYPES: Final = {"heavy": "reports.heavy", "dummy": "reports.dummy"}
_SHOWN: Final = (
    "type", "status", "progress", "result", "error", "artifacts", "created_at", "started_at", "finished_at",
)  # fmt: skip
_JSON: Final = "application/json"
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {202: {"model": JobAcceptedView}, 200: {"model": JobAcceptedView}}


def _examples(examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"content": {_JSON: {"examples": examples}}}}


@router.post("/reports/heavy", status_code=202, responses=_ACCEPTED, openapi_extra=_examples(HEAVY_EXAMPLES))
async def submit_heavy_report(request: Request) -> Response:
    """Make a PDF, an Excel file or an analysis of a table. A 202 means that it will be made, or fail and say why."""
    return await _submitted(request, _TYPES["heavy"], await json_body(request))


@router.post("/reports/dummy", status_code=202, responses=_ACCEPTED, openapi_extra=_examples(DUMMY_EXAMPLES))
async def submit_dummy_report(request: Request) -> Response:
    """Pretend to make a report, to try out everything around it."""
    return await _submitted(request, _TYPES["dummy"], await optional_json_body(request, otherwise={}))


@router.get("/reports/jobs/{job_id}", responses={200: {"model": JobView}})
async def get_report_job(request: Request, job_id: str) -> Response:
    """How far a report is, and its files once it is made."""
    try:
        task = orjson.loads((await api_of(request).reader.read(UUID(job_id))).document)
    except (ValueError, TaskNotFoundError):
        return _no_such_job(job_id)
    if task["type"] not in _TYPES.values():
        return _no_such_job(job_id)
    job = {"job_id": task["task_id"], **{name: task[name] for name in _SHOWN}}
    return Response(orjson.dumps(job), headers={"Cache-Control": "no-cache"}, media_type=_JSON)


async def _submitted(request: Request, type_: str, body: Any) -> Response:
    try:
        accepted = await api_of(request).submitter.submit(
            {"type": type_, "payload": body}, request_facts(request, body)
        )
    except InvalidInputError as error:
        if any(place == "/type" for place, _ in error.faults):
            return problem(
                503, "no_report_worker", "no worker that makes reports has started yet", headers=RETRY_SOON
            )
        # The client has sent no envelope and must not be told of places in one.
        raise InvalidInputError([(place.removeprefix("/payload"), text) for place, text in error.faults]) from error
    return _answer(accepted)


def _answer(accepted: Accepted) -> Response:
    status_url = f"/reports/jobs/{accepted.task_id}"
    body = {
        "job_id": str(accepted.task_id),
        "status": accepted.status,
        "duplicate": accepted.duplicate,
        "status_url": status_url,
        "created_at": accepted.created_at,
    }
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(text, 200 if accepted.duplicate else 202, {"Location": status_url}, _JSON)


def _no_such_job(job_id: str) -> Response:
    return problem(404, "job_not_found", f"there is no report job {job_id}")
