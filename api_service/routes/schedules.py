"""Schedules: what is submitted again and again, and when."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep, api_of, json_body, request_facts
from api_service.paging import ListQuery, Page
from api_service.schedule_views import ScheduleRunAcceptedView, ScheduleView, view_of, views_of
from api_service.scheduling import require_runnable, run_now
from api_service.services import Services
from shared.accepting.scheduling import (
    NewSchedule,
    ScheduleReplacement,
    is_schedule_name,
    read_new_schedule,
    read_replacement,
)
from shared.domain.schedule import Schedule
from shared.domain.status import TaskStatus
from shared.errors import InvalidInputError, ScheduleNotFoundError

router: Final = APIRouter(tags=["schedules"])

_JSON: Final = "application/json"


def _body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """What Swagger UI shows of a body that the route reads by itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs")  # they stand in the answers too
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": schema, "example": example}}}}


_EXAMPLE: Final = {"cron": "30 6 * * MON-FRI", "timezone": "Europe/Berlin", "type": "demo.echo", "payload": {"n": 1}}
_NEW: Final = _body(NewSchedule, {"name": "workdays", **_EXAMPLE})
_REPLACEMENT: Final = _body(ScheduleReplacement, _EXAMPLE)


class ScheduleListQuery(ListQuery):
    """Which schedules a list shows."""

    cursor: str = ""


async def _name(name: str) -> str:
    if not is_schedule_name(name):
        raise ScheduleNotFoundError(name)
    return name


#: The name in the path; what can't be a name is the name of no schedule.
Name = Annotated[str, Depends(_name)]


@router.get("/schedules")
async def list_schedules(services: ServicesDep, query: Annotated[ScheduleListQuery, Query()]) -> Page[ScheduleView]:
    """Schedules by name, each with its next and last runs."""
    if query.cursor and not is_schedule_name(query.cursor):
        raise InvalidInputError([("?cursor", "is not a cursor that was given out here")])
    found = await services.store.schedules.page(limit=query.limit + 1, after=query.cursor)
    shown = found[: query.limit]
    cursor = shown[-1].name if len(found) > query.limit else None
    return Page(items=await views_of(services, shown), next=cursor)


@router.post("/schedules", status_code=201, responses={201: {"model": ScheduleView}}, openapi_extra=_NEW)
async def create_schedule(request: Request, services: ServicesDep, audit: AuditDep) -> Response:
    """Create a schedule. Its first run is at its first tick from now on."""
    definition = read_new_schedule(await json_body(request))
    await require_runnable(api_of(request).submitter, definition)
    await audit.note("schedule.create", target=definition.name, type=definition.type)
    created = await services.store.schedules.create(definition)
    return await _answer(services, created, 201)


@router.get("/schedules/{name}")
async def get_schedule(services: ServicesDep, name: Name) -> ScheduleView:
    """A schedule with its next and last runs."""
    return await view_of(services, await services.store.schedules.get(name))


@router.put(
    "/schedules/{name}",
    responses={200: {"model": ScheduleView}, 201: {"model": ScheduleView}},
    openapi_extra=_REPLACEMENT,
)
async def put_schedule(request: Request, services: ServicesDep, name: str, audit: AuditDep) -> Response:
    """Replace a schedule (200), or create it (201). One that is paused stays so."""
    definition = read_replacement(await json_body(request), name)
    await require_runnable(api_of(request).submitter, definition)
    await audit.note("schedule.replace", target=name, type=definition.type)
    schedule, is_new = await services.store.schedules.put(definition)
    return await _answer(services, schedule, 201 if is_new else 200)


@router.delete("/schedules/{name}", status_code=204)
async def delete_schedule(services: ServicesDep, name: Name, audit: AuditDep) -> Response:
    """Delete a schedule and the record of its runs. Its tasks stay. A built-in one comes back: pause it instead."""
    await audit.note("schedule.delete", target=name)
    await services.store.schedules.delete(name)
    return Response(status_code=204)


@router.post(
    "/schedules/{name}/run",
    status_code=202,
    responses={202: {"model": ScheduleRunAcceptedView}, 200: {"model": ScheduleRunAcceptedView}},
)
async def run_schedule(request: Request, services: ServicesDep, name: Name, audit: AuditDep) -> Response:
    """Submit its task now, paused or not. Its ticks stay what they are.

    With an `Idempotency-Key`, a repeat within 24 hours is answered 200 with the first task.
    """
    facts = request_facts(request, None)
    await audit.note("schedule.run", target=name)
    accepted = await run_now(services, name, facts)
    view = ScheduleRunAcceptedView(task_id=accepted.task_id, schedule=name, status=TaskStatus(accepted.status))
    status = 200 if accepted.duplicate else 202
    return Response(view.model_dump_json(), status, {"Location": f"/tasks/{accepted.task_id}"}, _JSON)


@router.post("/schedules/{name}/pause")
async def pause_schedule(services: ServicesDep, name: Name, audit: AuditDep) -> ScheduleView:
    """Let its ticks pass until it is resumed. One that is paused stays so."""
    await audit.note("schedule.pause", target=name)
    return await view_of(services, await services.store.schedules.pause(name))


@router.post("/schedules/{name}/resume")
async def resume_schedule(services: ServicesDep, name: Name, audit: AuditDep) -> ScheduleView:
    """Let it run again. What has passed meanwhile is made up for as `catch_up` says."""
    await audit.note("schedule.resume", target=name)
    return await view_of(services, await services.store.schedules.resume(name))


async def _answer(services: Services, schedule: Schedule, status: int) -> Response:
    view = await view_of(services, schedule)
    return Response(view.model_dump_json(), status, {"Location": f"/schedules/{schedule.name}"}, _JSON)
