"""Running a task again because a person asked for it."""

from uuid import UUID

from api_service.services import Services
from api_service.views import RenewedView
from shared.domain.status import TaskStatus


async def renew(services: Services, task_id: UUID, *, payload: str | None = None) -> RenewedView:
    """Queue a failed, cancelled or expired task again, with its attempts renewed and, if given, another payload.

    Raises:
        TaskNotFoundError: No such task.
        IllegalMoveError: It is in another status.
        UniqueConflictError: Another open task has its unique key.
    """
    moved = await services.store.lifecycle.renew(task_id, payload=payload)
    services.publisher.offer(moved.rings)
    await services.news.tell(moved.tasks)
    [task] = moved.tasks
    return RenewedView(
        task_id=task.id,
        status=TaskStatus(task.status),
        type=task.type,
        queue=task.queue,
        created_at=task.created_at,
    )
