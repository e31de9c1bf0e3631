"""The engine, and the one place that knows what a fault of PostgreSQL looks like."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final, TypeVar

import asyncpg
import structlog
import tenacity
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaMissingError

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
        self._engine: AsyncEngine = create_async_engine(
            engine_url(url),
            pool_size=pool_size,
            max_overflow=0,
            # The connection used last knows its statements; the others would have to learn them first.
            pool_use_lifo=True,
            pool_timeout=connect_timeout_s,
            connect_args={
                "timeout": connect_timeout_s,
                # The client's own limit is the wider one: it only ends a wait on a peer that is gone.
                "command_timeout": statement_timeout_s + 5,
                "server_settings": {
                    "application_name": "taskmill",
                    "statement_timeout": str(int(statement_timeout_s * 1000)),
                    "idle_in_transaction_session_timeout": "60000",
                    "jit": "off",
                },
            },
        )
        self.pool_size = pool_size
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for statements that stand alone (each commits by itself).

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off.
            DatabaseRefusedError: It lets us not in.
        """
        with _translated_faults():
            async with self._autocommit.connect() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that commits at the end of the block.

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off; the commit may have happened.
        """
        with _translated_faults():
            async with self._engine.begin() as connection:
                yield connection

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
        await self._engine.dispose()


def engine_url(url: str) -> URL:
    """The address as our driver takes it: libpq's `sslmode` is called `ssl` there."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    if "sslmode" in parsed.query:
        parsed = parsed.update_query_dict({"ssl": parsed.query["sslmode"]}).difference_update_query(["sslmode"])
    return parsed


@contextmanager
def _translated_faults() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, PoolTimeoutError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailableError(repr(error)) from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        source = error.orig if isinstance(error, DBAPIError) else error
        sqlstate = getattr(source, "sqlstate", None) or ""
        if sqlstate in _REFUSALS:
            raise DatabaseRefusedError(source) from error
        is_cut = isinstance(error, DBAPIError) and error.connection_invalidated
        if is_cut or sqlstate[:2] in _PASSING_CLASSES or sqlstate == _READ_ONLY:
            raise DatabaseUnavailableError(source) from error
        raise
