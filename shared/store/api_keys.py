"""API keys that were made over the API; only their digests are stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain.access import ApiKey, scopes_of
from shared.errors import KeyNameTakenError, KeyNotFoundError
from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What may be shown of a key."""

    name: str
    scopes: list[str]
    requests_per_minute: float | None
    created_at: datetime
    created_by: str | None
    revoked_at: datetime | None


class ApiKeys:
    """The table `api_keys`. A revoked key stays, so that its name never means another one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey, *, created_by: str) -> datetime:
        """Store a new key; returns when that was.

        Raises:
            KeyNameTakenError: A key has or had this name.
            DatabaseUnavailableError: PostgreSQL is away; the key may have been stored.
        """
        row = {
            "name": key.name,
            "hash": key.digest,
            "scopes": sorted(key.scopes),
            "requests_per_minute": key.requests_per_minute,
            "created_by": created_by,
        }
        async with self._database.read() as connection:
            created_at: datetime | None = await connection.scalar(_ADD, row)
        if created_at is None:
            raise KeyNameTakenError(key.name)
        return created_at

    async def live(self) -> list[ApiKey]:
        """Every key that is not revoked."""
        async with self._database.read() as connection:
            rows = await connection.execute(_LIVE)
            return [ApiKey(name, digest, scopes_of(scopes), limit) for name, digest, scopes, limit in rows]

    async def all(self) -> list[StoredKey]:
        """Every key that ever was, by name."""
        async with self._database.read() as connection:
            return [StoredKey(*row) for row in await connection.execute(_ALL)]

    async def revoke(self, name: str) -> None:
        """Let a key be worth nothing from now on; a second time changes nothing.

        Raises:
            KeyNotFoundError: No key has this name.
        """
        async with self._database.read() as connection:
            if not await connection.change(_REVOKE, {"name": name}):
                raise KeyNotFoundError(name)


_ADD: Final = text("""
    INSERT INTO api_keys (name, hash, scopes, requests_per_minute, created_at, created_by)
    VALUES (:name, :hash, CAST(:scopes AS text[]), CAST(:requests_per_minute AS float8), now(), :created_by)
    ON CONFLICT (name) DO NOTHING RETURNING created_at""")

_LIVE: Final = text("SELECT name, hash, scopes, requests_per_minute FROM api_keys WHERE revoked_at IS NULL")

_ALL: Final = text("""
    SELECT name, scopes, requests_per_minute, created_at, created_by, revoked_at FROM api_keys ORDER BY name""")

_REVOKE: Final = text("""
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE name = :name""")
