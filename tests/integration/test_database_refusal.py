"""A PostgreSQL that is there and lets nobody in."""

from urllib.parse import urlsplit

import pytest

from shared.errors import DatabaseRefusedError
from shared.store.database import Database


async def test_a_missing_database_is_said_at_once_and_with_the_remedy(database_url: str) -> None:
    elsewhere = urlsplit(database_url)._replace(path="/there_is_none").geturl()
    database = Database(elsewhere, pool_size=1)

    with pytest.raises(DatabaseRefusedError, match=r"there_is_none.*DATABASE_URL"):
        await database.require_schema()

    await database.close()
