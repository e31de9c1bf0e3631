"""Databases with our schema: migrated once, copied for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config

from tests.servers.postgres import Postgres

_ALEMBIC_INI: Final = Path(__file__).parents[2] / "alembic.ini"


def migrate(url: str) -> None:
    """Bring a database up to date with the newest migration, also while a loop is running."""
    config = Config(_ALEMBIC_INI)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    with ThreadPoolExecutor(max_workers=1) as pool:  # the migrations bring a loop of their own
        pool.submit(command.upgrade, config, "head").result()


def unique_name() -> str:
    """A name for a database or vhost that no other test run uses."""
    return f"taskmill_test_{uuid.uuid4().hex[:16]}"


class Template:
    """A migrated database from which tests get copies, in milliseconds."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._name = f"{unique_name()}_template"
        migrate(postgres.create_database(self._name))

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The address of a fresh copy, which is dropped afterwards."""
        name = unique_name()
        yield self._postgres.create_database(name, template=self._name)
        self._postgres.drop_database(name)

    def drop(self) -> None:
        """Remove the template itself."""
        self._postgres.drop_database(self._name)
