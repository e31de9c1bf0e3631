"""Connections as the store asks for them, and the one place that knows what a fault of PostgreSQL looks like."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import asyncpg
import structlog
import tenacity

from shared.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaMissingError
from shared.store.connection import Connection
from shared.store.pool import Pool
from shared.store.statement import text

log = structlog.get_logger(__name__)
R = TypeVar("R")

#: The newest migration; the services refuse to start on another schema.
SCHEMA_REVISION: Final = "0003"

# Classes of SQLSTATE that pass by themselves: connection faults, rollbacks (deadlock, serialization), lack of
# resources, intervention of an operator (shutdown, crash), system errors. Source: PostgreSQL manual, appendix A.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
# What no waiting mends: a role that is not let in, a wrong password, a missing database.
_REFUSALS: Final = frozenset({"28000", "28P01", "3D000"})
_READ_ONLY: Final = "25006"  # a fail-over in progress: this is no longer the primary
_ADDRESS: Final = re.compile(r"postgres(ql)?(\+\w+)?://(?P<user>[^:/@]*(:[^@]*)?@)?(?P<rest>.*)")

# Left to itself the planner reads every queued or running row for a batch of fifty as soon as the statistics lag
# behind the tables: a backlog grows in a second, they come a minute later, and a plan that was made for a table of
# ten rows is kept for minutes. A statement here bounds what it reads by the keys that it names; a join is then one of
# the batch with itself, for which a hash is never quadratic.
_BY_KEY: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_nestloop": "off",
    "enable_mergejoin": "off",
}


class Database:
    """Connections to PostgreSQL.

    Args:
        url: `postgresql://…`; the driver is added.
        pool_size: Connections kept open; half of them are those of `by_key`.
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
        pool = partial(
            Pool,
            driver_url(url),
            connect_timeout_s=connect_timeout_s,
            # The client's own limit is the wider one: it only ends a wait on a peer that is gone.
            command_timeout_s=statement_timeout_s + 5,
        )
        settings = {
            "application_name": "taskmill",
            "statement_timeout": str(int(statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "jit": "off",
        }
        keyed = max(pool_size // 2, 1)
        self._keyed = pool(size=keyed, settings={**settings, **_BY_KEY})
        self._pool = pool(size=max(pool_size - keyed, 1), settings=settings)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for statements that stand alone (each commits by itself).

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off.
            DatabaseRefusedError: It lets us not in.
        """
        with _translated_faults():
            async with self._pool.lend() as connection:
                yield connection

    @asynccontextmanager
    async def by_key(self) -> AsyncIterator[Connection]:
        """The same for statements that run with every few tasks and name their rows by primary key, as `= ANY(…)`.

        Their plan is made once, whatever the statistics say, and finds rows by index only, however the tables grow.
        """
        with _translated_faults():
            async with self._keyed.lend() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits at the end of the block.

        Raises:
            DatabaseUnavailableError: PostgreSQL can't be reached or broke off; the commit may have happened.
        """
        with _translated_faults():
            async with self._pool.transaction() as connection:
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
        """Open all connections, so that no request has to wait for one to be opened.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(_translated_faults())
            for pool in (self._pool, self._keyed):
                for _ in range(pool.size):
                    await stack.enter_async_context(pool.lend())

    async def ping(self) -> None:
        """Return when PostgreSQL has answered.

        Raises:
            DatabaseUnavailableError: It did not.
        """
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections, within a few seconds."""
        await asyncio.gather(self._pool.close(), self._keyed.close())


def driver_url(url: str) -> str:
    """The address as the driver takes it.

    That is without the name of a driver, with libpq's `sslmode` for `ssl`, and with a password that may hold any sign
    but `@`.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return url
    user, rest = quote(found["user"] or "", safe=":@%"), re.sub("(?<=[?&])ssl=", "sslmode=", found["rest"])
    return f"postgresql://{user}{rest}"


@contextmanager
def _translated_faults() -> Iterator[None]:
    try:
        yield
    # The last is also what a connection says that PostgreSQL is just ending.
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
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
