"""The audit trail, as routes write it.

async def pause_queue(queue: QueueName, audit: AuditDep) -> QueueView:
    await audit.note("queue.pause", target=queue)
    ...
"""

import ipaddress
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from api_service.dependencies import api_of
from api_service.exchange import exchange_of
from shared import jsontext
from shared.store.audit import Audit

#: Characters that are kept of a target.
_MAX_TARGET: Final = 300


class Auditor:
    """Writes what one request is about to do."""

    def __init__(self, audit: Audit, *, actor: str, request_id: str | None) -> None:
        self._audit = audit
        self.actor = actor
        self._request_id = request_id

    async def note(self, action: str, *, target: object = "", **details: Any) -> None:
        """Write down that the action is asked for; await it before the action takes effect.

        What is written says who asked for what, not what came of it: should the process die between the two, the
        trail has an action too many, never one too few.

        Args:
            action: The kind of thing and what is done to it: `queue.pause`, `task.cancel`.
            target: The name or id of the thing.
            details: What else matters, as JSON takes it. No secrets.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away; the action is not done then.
        """
        await self._audit.add(
            self.actor,
            action,
            jsontext.printable(str(target), _MAX_TARGET),
            details=jsontext.dumps(details),
            request_id=self._request_id,
        )


def actor_of(request: Request) -> str:
    """Who asks: the name of the API key, or `anonymous@` and the client's address where none is asked for."""
    caller = exchange_of(request).caller
    return f"anonymous@{_address(request)}" if caller is None else caller.name


def _address(request: Request) -> str:
    # A proxy's header may have been taken for the address, and anything may stand in it.
    try:
        return str(ipaddress.ip_address(request.client.host if request.client else ""))
    except ValueError:
        return "unknown"


async def _auditor(request: Request) -> Auditor:
    audit = api_of(request).services.store.audit
    return Auditor(audit, actor=actor_of(request), request_id=exchange_of(request).request_id)


AuditDep = Annotated[Auditor, Depends(_auditor)]
