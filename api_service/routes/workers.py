"""Who does the work."""

from typing import Final

from fastapi import APIRouter

from api_service.dependencies import ServicesDep
from api_service.paging import Page
from api_service.views import WorkerView

router: Final = APIRouter(tags=["workers"])


@router.get("/workers")
async def list_workers(services: ServicesDep) -> Page[WorkerView]:
    """Every worker that has not left, the newest first."""
    workers = await services.store.workers.all()
    return Page(items=[WorkerView.model_validate(worker, from_attributes=True) for worker in workers])
