"""Connections that are kept open and lent out, on the pool of the driver."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.store.connection import Connection, Row

if TYPE_CHECKING:
    from asyncpg.pool import Pool as DriverPool

_FAULTS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
#: Seconds that a connection may take to end what its caller left unfinished, or to say goodbye; then it is cut.
_TIDY_S: Final = 2.0
#: More than any connection will ever run: the driver would open it anew after 50,000, and nothing of ours grows old.
_NEVER: Final = 2**62


class Pool:
    """Opens a connection when one is wanted and none is idle.

    Args:
        dsn: An address that the driver takes.
        size: No more connections than this.
        connect_timeout_s: Seconds that a connection may take to be had.
        command_timeout_s: Seconds after which a server that does not answer counts as gone.
        settings: What PostgreSQL is told when a connection opens.
    """

    def __init__(
        self, dsn: str, *, size: int, connect_timeout_s: float, command_timeout_s: float, settings: Mapping[str, str]
    ) -> None:
        self.size = size
        self._dsn = dsn
        self._connect_timeout_s = connect_timeout_s
        self._command_timeout_s = command_timeout_s
        self._settings = dict(settings)
        self._opened: DriverPool[Row] | None = None

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """A connection for the block, the one used last if it is free: it knows its statements."""
        pool = self._opened or await self._open()
        async with asyncio.timeout(self._connect_timeout_s):
            lent = await pool.acquire()
        try:
            yield Connection(lent)
        finally:
            # The driver waits until a cancelled statement has ended and rolls back what is open. Where it can't, it
            # cuts the connection, and what the block did or raised is what counts.
            with suppress(*_FAULTS):
                await pool.release(lent, timeout=_TIDY_S)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """The same, in a transaction that commits at the end of the block, unless the block has done so."""
        async with self.lend() as connection:
            try:
                await connection.control("BEGIN")
                yield connection
            except BaseException:
                with suppress(*_FAULTS):
                    await connection.control("ROLLBACK", timeout_s=_TIDY_S)
                raise
            if not connection.committed:
                await connection.control("COMMIT")

    async def close(self) -> None:
        """Wait a moment for what is lent, and close all connections."""
        pool, self._opened = self._opened, None
        if pool is not None:
            with suppress(*_FAULTS):  # it cuts them off then
                async with asyncio.timeout(_TIDY_S):
                    await pool.close()

    async def _open(self) -> "DriverPool[Row]":
        # Not before the first use: it belongs to the event loop that runs then.
        self._opened = asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self.size,
            max_queries=_NEVER,
            max_inactive_connection_lifetime=0,
            record_class=Row,
            reset=_keep,
            timeout=self._connect_timeout_s,
            command_timeout=self._command_timeout_s,
            server_settings=self._settings,
        )
        # Opens nothing and never pauses, since no connection is asked for: nobody finds it half made.
        return await self._opened


async def _keep(_connection: object) -> None:
    """No statement of ours changes its session: there is nothing to reset."""
