"""Addresses of PostgreSQL as people write them."""

import pytest

from shared.store.database import engine_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_usual_scheme_means_our_driver(scheme: str) -> None:
    url = engine_url(f"{scheme}://user:secret@db:5433/tasks")

    assert url.render_as_string(hide_password=False) == "postgresql+asyncpg://user:secret@db:5433/tasks"


def test_the_ssl_mode_is_said_in_the_words_of_the_driver() -> None:
    url = engine_url("postgresql://user@db/tasks?sslmode=require&application_name=x")

    assert dict(url.query) == {"ssl": "require", "application_name": "x"}
