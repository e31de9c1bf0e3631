"""The pool of connections, and the one place that knows what a fault of PostgreSQL looks like."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
import structlog
import tenacity

from shared.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaMissingError
from shared.store.connection import Connection, Row
from shared.store.statement import text

if TYPE_CHECKING:
    from asyncpg.pool import Pool, PoolConnectionProxy

log = structlog.get_logger(__name__)
R = TypeVar("R")

#: The newest migration; the services refuse to start on another schema.
SCHEMA_REVISION: Final = "0002"

# Classes of SQLSTATE that pass by themselves: connection faults, rollbacks (deadlock, serialization), lack of
# resources, intervention of an operator (shutdown, crash), system errors. Source: PostgreSQL manual, appendix A.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
# What no waiting mends: a role that is not let in, a wrong password, a missing database.
_REFUSALS: Final = frozenset({"28000", "28P01", "3D000"})
_READ_ONLY: Final = "25006"  # a fail-over in progress: this is no longer the primary
#: Seconds that connections may take to say goodbye.
_CLOSE_S: Final = 2.0


class Database:
    """Connections to PostgreSQL.

    Args:
        url: `postgresql://…`; the driver is added.
        pool_size: Connections kept open.
        connect_timeout_s: Seconds that a connection may take to open, or to be had from the pool.
        statement_timeout_s: Seconds that one statement may take.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        connect_timeout_s: float = 5.0,
        statement_timeout_s: float = 30.0,
    ) -> None:
        self.pool_size = pool_size
        self._connect_timeout_s = connect_timeout_s
        self._opening = asyncio.Lock()
        self._opened: Pool[Row] | None = None
        self._options: dict[str, Any] = {
            "dsn": driver_url(url),
            "timeout": connect_timeout_s,
            # The client's own limit is the wider one: it only ends a wait on a peer that is gone.
            "command_timeout": statement_timeout_s + 5,
            "server_settings": {
                "application_name": "taskmill",
                "statement_timeout": str(int(statement_timeout_s * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                "jit": "off",
            },
        }

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for statements that stand alone (each commits by itself).

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off.
            DatabaseRefusedError: It lets us not in.
        """
        with _translated_faults():
            async with self._connection() as connection:
                yield Connection(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits at the end of the block.

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off; the commit may have happened.
        """
        with _translated_faults():
            async with self._connection() as connection, connection.transaction():
                yield Connection(connection)

    async def persist(self, work: Callable[[], Awaitable[R]], *, for_s: float | None = None) -> R:
        """Do `work` again, with growing pauses, while PostgreSQL is away.

        `work` must be safe to repeat: its first commit may have happened although its answer was lost.

        Args:
            work: One or more statements.
            for_s: Seconds after which to give up; None for never.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not come back in time.
        """
        began = time.monotonic()
        try:
            return await work()
        except DatabaseUnavailableError as error:
            left_s = None if for_s is None else for_s - (time.monotonic() - began)
            if left_s is not None and left_s <= 0:
                raise
            log.warning("database_fault_retried", reason=str(error))

        async def again() -> R:
            return await work()

        return await tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(DatabaseUnavailableError),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_never if left_s is None else tenacity.stop_after_delay(left_s),
            reraise=True,
        )(again)

    async def require_schema(self) -> None:
        """Do nothing if the database is at the schema that this code needs.

        Raises:
            SchemaMissingError: It is not; migrating is a step of its own.
            DatabaseUnavailableError: PostgreSQL is away.
        """
        async with self.read() as connection:
            known = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
            found = await connection.scalar(text("SELECT max(version_num) FROM alembic_version")) if known else None
        if found is None or found < SCHEMA_REVISION:
            raise SchemaMissingError(found, SCHEMA_REVISION)

    async def warm_up(self) -> None:
        """Open all connections of the pool, so that no request has to wait for one to be opened.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        async with AsyncExitStack() as stack:
            for _ in range(self.pool_size):
                connection = await stack.enter_async_context(self.read())
                await connection.execute(text("SELECT 1"))

    async def ping(self) -> None:
        """Return when PostgreSQL has answered.

        Raises:
            DatabaseUnavailableError: It did not.
        """
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        pool, self._opened = self._opened, None
        if pool is not None:
            with suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):  # gone, or cut off for taking long
                await asyncio.wait_for(pool.close(), _CLOSE_S)

    # The pool .......................................................................

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[PoolConnectionProxy[Row]]":
        pool = self._opened or await self._open()
        async with asyncio.timeout(self._connect_timeout_s):
            connection = await pool.acquire()
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def _open(self) -> "Pool[Row]":
        # With the first statement, since a pool belongs to the event loop that it was made on. It hands out the
        # connection used last, which knows its statements; the others would have to learn them first.
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncpg.create_pool(
                    min_size=0,
                    max_size=self.pool_size,
                    max_inactive_connection_lifetime=0,
                    record_class=Row,
                    reset=_keep,
                    **self._options,
                )
            return self._opened


async def _keep(_connection: object) -> None:
    """Nothing to reset: no statement of ours changes its session."""


def driver_url(url: str) -> str:
    """The address as the driver takes it, which knows one way to spell the scheme."""
    return re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url)


@contextmanager
def _translated_faults() -> Iterator[None]:
    try:
        yield
    except (OSError, asyncpg.InterfaceError) as error:
        if isinstance(error, ValueError):  # a value that no column takes, an address that can't be read
            raise
        raise DatabaseUnavailableError(repr(error)) from error
    except asyncpg.PostgresError as error:
        sqlstate = error.sqlstate or ""
        if sqlstate in _REFUSALS:
            raise DatabaseRefusedError(error) from error
        if sqlstate[:2] in _PASSING_CLASSES or sqlstate == _READ_ONLY:
            raise DatabaseUnavailableError(error) from error
        raise
