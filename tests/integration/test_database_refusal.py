"""A PostgreSQL that is there and lets nobody in."""

import pytest
from sqlalchemy.engine import make_url

from shared.errors import DatabaseRefusedError
from shared.store.database import Database


async def test_a_missing_database_is_said_at_once_and_with_the_remedy(database_url: str) -> None:
    elsewhere = make_url(database_url).set(database="there_is_none")
    database = Database(elsewhere.render_as_string(hide_password=False), pool_size=1)

    with pytest.raises(DatabaseRefusedError, match=r"there_is_none.*DATABASE_URL"):
        await database.require_schema()

    await database.close()
