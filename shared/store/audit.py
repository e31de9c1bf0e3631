"""The audit trail: who asked for which operator's action, and when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action that was asked for. `details` is the JSON text of an object."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    details: str
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries a list shows; None means any."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None


class Audit:
    """The table `audit`. Entries are added and, when they are old, deleted; never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, actor: str, action: str, target: str, *, details: str, request_id: str | None) -> None:
        """Write down what `actor` is about to do.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away; the action must not be done then.
        """
        entry = {
            "actor": actor,
            "action": action,
            "target": target,
            "details": details,
            "request_id": request_id,
        }
        async with self._database.read() as connection:
            await connection.execute(_ADD, entry)

    async def page(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> list[AuditEntry]:
        """At most `limit` entries, the latest first, that came before the one whose id `before` is."""
        parameters = {
            "actor": wanted.actor,
            "action": wanted.action,
            "target": wanted.target,
            "before": before,
            "limit": limit,
        }
        async with self._database.read() as connection:
            return [AuditEntry(*row) for row in await connection.execute(_PAGE, parameters)]

    async def forget(self, *, older_than_days: float, limit: int) -> int:
        """Delete at most `limit` entries of so long ago. Returns how many."""
        async with self._database.read() as connection:
            return await connection.change(_FORGET, {"days": older_than_days, "limit": limit})


_ADD: Final = text("""
    INSERT INTO audit (actor, action, target, details, request_id)
    VALUES (:actor, :action, :target, :details, :request_id)""")

_PAGE: Final = text("""
    SELECT id, at, actor, action, target, details, request_id FROM audit
    WHERE (CAST(:actor AS text) IS NULL OR actor = :actor)
      AND (CAST(:action AS text) IS NULL OR action = :action)
      AND (CAST(:target AS text) IS NULL OR target = :target)
      AND (CAST(:before AS bigint) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit""")

_FORGET: Final = text("""
    DELETE FROM audit WHERE id IN (
        SELECT id FROM audit WHERE at < now() - make_interval(secs => CAST(:days AS float8) * 86400)
        ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED)""")
