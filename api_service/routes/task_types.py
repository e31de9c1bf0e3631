"""What can be submitted."""

from typing import Final

from fastapi import APIRouter

from api_service.dependencies import ServicesDep
from api_service.paging import Page
from api_service.views import TaskDefaultsView, TaskTypeView
from shared.domain.task_type import TaskTypeInfo

router: Final = APIRouter(tags=["task types"])


@router.get("/task-types")
async def list_task_types(services: ServicesDep) -> Page[TaskTypeView]:
    """Every type that a worker has announced, by name."""
    types = await services.store.task_types.all()
    live = await services.store.task_types.live_workers()
    return Page(items=[_view(info, live.get(name, 0)) for name, info in types.items()])


def _view(info: TaskTypeInfo, live_workers: int) -> TaskTypeView:
    return TaskTypeView(
        name=info.name,
        queue=info.queue,
        summary=info.summary,
        payload_schema=info.payload_schema,
        result_schema=info.result_schema,
        defaults=TaskDefaultsView(
            queue=info.queue,
            max_attempts=info.max_attempts,
            timeout=info.timeout_s,
            soft_timeout=info.soft_timeout_s,
        ),
        example=info.example,
        live_workers=live_workers,
    )
