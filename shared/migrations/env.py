"""Runs the migrations on the database that DATABASE_URL (or the caller's connection URL) names."""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from shared.models import Base
from shared.settings import DatabaseSettings

#: Two replicas may migrate at once: the second waits here and then finds nothing to do.
_LOCK = 0x7461736B6D696C6C


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        context.run_migrations()


async def _main() -> None:
    address = context.config.get_main_option("sqlalchemy.url") or DatabaseSettings().database_url
    engine = create_async_engine(make_url(address).set(drivername="postgresql+asyncpg"), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_main())
