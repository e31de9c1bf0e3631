"""Runs the migrations on the database that DATABASE_URL (or the caller's connection URL) names."""

import asyncio
import re
import sys

import asyncpg
from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from shared.errors import DatabaseRefusedError, DatabaseUnavailableError
from shared.models import Base
from shared.settings import DatabaseSettings, load_or_exit
from shared.startup import NeighbourMissingError, wait_for
from shared.store.database import Database, driver_url

#: Two replicas may migrate at once: the second waits here and then finds nothing to do.
_LOCK = 0x7461736B6D696C6C


def _is_described(name: str | None, kind: str, _parents: object) -> bool:
    """Whether the models speak of it: partitions come and go."""
    return not (kind == "table" and name is not None and re.fullmatch(r"tasks_(\d{8}|leftover)", name))


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=_is_described)
    with context.begin_transaction():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        context.run_migrations()


async def _wait_for_database(address: str) -> None:
    database = Database(address, pool_size=1)
    try:
        await wait_for("PostgreSQL", address, database.ping, errors=(DatabaseUnavailableError,), for_s=60)
    except (NeighbourMissingError, DatabaseRefusedError) as error:
        sys.exit(f"taskmill: {error}")
    finally:
        await database.close()


async def _main() -> None:
    address = context.config.get_main_option("sqlalchemy.url") or load_or_exit(DatabaseSettings).database_url
    await _wait_for_database(address)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(driver_url(address)),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_main())
