"""Who asked for which operator's action, and when."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api_service.dependencies import ServicesDep
from api_service.paging import ListQuery, Page, Word
from shared import jsontext
from shared.store.audit import AuditEntry, AuditFilter

router: Final = APIRouter(tags=["audit"])


class AuditEntryView(BaseModel):
    """An action that was asked for. It is written before the action: what came of it stands elsewhere."""

    id: int
    at: datetime
    actor: str = Field(description="The name of the API key, or `anonymous@` and an address")
    action: str
    target: str
    details: dict[str, Any]
    request_id: str | None


class AuditListQuery(ListQuery):
    """Which entries a list shows."""

    actor: Word | None = None
    action: Word | None = None
    target: Word | None = None
    cursor: Annotated[int, Field(ge=0, lt=2**63)] | None = None


@router.get("/audit")
async def list_audit(services: ServicesDep, query: Annotated[AuditListQuery, Query()]) -> Page[AuditEntryView]:
    """What operators asked for, the latest first. Entries are kept for 90 days, or for as long as final tasks."""
    wanted = AuditFilter(actor=query.actor, action=query.action, target=query.target)
    found = await services.store.audit.page(wanted, limit=query.limit + 1, before=query.cursor)
    shown = found[: query.limit]
    cursor = str(shown[-1].id) if len(found) > query.limit else None
    return Page(items=[_view(entry) for entry in shown], next=cursor)


def _view(entry: AuditEntry) -> AuditEntryView:
    return AuditEntryView(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        details=jsontext.loads(entry.details),
        request_id=entry.request_id,
    )
