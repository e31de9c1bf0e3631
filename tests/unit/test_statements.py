"""SQL and addresses as PostgreSQL's driver takes them."""

import pytest

from shared.store.database import driver_url
from shared.store.statement import text


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_usual_scheme_means_our_driver(scheme: str) -> None:
    url = driver_url(f"{scheme}://user:secret@db:5433/tasks?sslmode=require")

    assert url == "postgresql://user:secret@db:5433/tasks?sslmode=require"


def test_names_become_numbers_and_a_name_keeps_its_number() -> None:
    statement = text("SELECT :b, :a_2, x::text, y ::int[] FROM t WHERE u = :b AND v[1:2] = '{}'")

    assert statement.sql == "SELECT $1, $2, x::text, y ::int[] FROM t WHERE u = $1 AND v[1:2] = '{}'"
    assert statement.arguments({"a_2": 2, "unused": 3, "b": 1}) == [1, 2]


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="id"):
        text("SELECT :id").arguments({})
