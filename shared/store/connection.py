"""A connection to PostgreSQL as the statements of the store use it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from shared.store.statement import Statement

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class Row(asyncpg.Record):
    """A row: a sequence of its values, which are its attributes too."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Connection:
    """Runs statements. Faults come out as the driver's; `Database` translates them where its block ends.

    Attributes:
        committed: Whether `commit` has ended the transaction already.
    """

    __slots__ = ("_connection", "committed")

    def __init__(self, connection: "PoolConnectionProxy[Row]") -> None:
        self._connection = connection
        self.committed = False

    async def execute(self, statement: Statement, parameters: Mapping[str, Any] = _NONE) -> list[Row]:
        """Run a statement and return its rows."""
        return await self._connection.fetch(statement.sql, *statement.arguments(parameters))

    async def one(self, statement: Statement, parameters: Mapping[str, Any] = _NONE) -> Row:
        """The only row of a statement that always has one."""
        [row] = await self.execute(statement, parameters)
        return row

    async def one_or_none(self, statement: Statement, parameters: Mapping[str, Any] = _NONE) -> Row | None:
        """The first row of a statement, or None."""
        return await self._connection.fetchrow(statement.sql, *statement.arguments(parameters))

    async def scalar(self, statement: Statement, parameters: Mapping[str, Any] = _NONE) -> Any:
        """The first value of the first row; None if there is no row."""
        return await self._connection.fetchval(statement.sql, *statement.arguments(parameters))

    async def change(self, statement: Statement, parameters: Mapping[str, Any] = _NONE) -> int:
        """Run an INSERT, UPDATE or DELETE and return how many rows it was about."""
        # PostgreSQL answers "DELETE 3", "INSERT 0 3".
        done = await self._connection.execute(statement.sql, *statement.arguments(parameters))
        return int(done.rsplit(" ", 1)[1])

    async def control(self, command: str, *, timeout_s: float | None = None) -> None:
        """Run a command that has neither parameters nor rows: BEGIN, COMMIT, ALTER TABLE."""
        await self._connection.execute(command, timeout=timeout_s)

    async def commit(self, *commands: str) -> None:
        """Run the last commands of a transaction and commit, all in one message.

        What they lock is free again as soon as PostgreSQL is through with them, also where the sender stands still
        from here on: a paused machine would keep it locked for as long, and nobody notices that it is paused.
        """
        await self.control(";\n".join([*commands, "COMMIT"]))
        self.committed = True
