"""Who does the work."""

from typing import Final

from fastapi import APIRouter

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep
from api_service.paging import Page
from api_service.views import WorkerView
from shared.errors import WorkerNotFoundError

router: Final = APIRouter(tags=["workers"])


@router.get("/workers")
async def list_workers(services: ServicesDep) -> Page[WorkerView]:
    """Every worker that has not left, the newest first."""
    workers = await services.store.workers.all()
    return Page(items=[WorkerView.model_validate(worker, from_attributes=True) for worker in workers])


@router.post("/workers/{worker_id}/drain", status_code=202)
async def drain_worker(services: ServicesDep, worker_id: str, audit: AuditDep) -> WorkerView:
    """Let a worker take nothing more and finish what it runs. It stays, idle, until it is stopped or restarted."""
    if "\x00" in worker_id:  # no text that PostgreSQL could look for
        raise WorkerNotFoundError(worker_id)
    await audit.note("worker.drain", target=worker_id)
    worker = await services.store.workers.drain(worker_id)
    await services.news.hurry_workers()
    return WorkerView.model_validate(worker, from_attributes=True)
