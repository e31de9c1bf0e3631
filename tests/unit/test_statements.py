"""SQL and addresses as PostgreSQL's driver takes them."""

import pytest

from shared.store.database import driver_url
from shared.store.statement import text


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_usual_scheme_means_our_driver(scheme: str) -> None:
    assert driver_url(f"{scheme}://user:secret@db:5433/tasks") == "postgresql://user:secret@db:5433/tasks"


@pytest.mark.parametrize("option", ["sslmode", "ssl"])
def test_how_to_encrypt_is_said_in_the_words_of_libpq(option: str) -> None:
    url = driver_url(f"postgresql://user@db/tasks?application_name=x&{option}=require")

    assert url == "postgresql://user@db/tasks?application_name=x&sslmode=require"


def test_a_password_may_hold_the_signs_that_part_an_address() -> None:
    assert driver_url("postgresql://user:a/b#c?d%40@db/tasks") == "postgresql://user:a%2Fb%23c%3Fd%40@db/tasks"


def test_an_address_of_a_socket_stays() -> None:
    url = "postgresql://postgres:@/postgres?host=/data/run:x"

    assert driver_url(url) == url


def test_names_become_numbers_and_a_name_keeps_its_number() -> None:
    statement = text("SELECT :b, :a_2, x::text, y ::int[] FROM t WHERE u = :b AND v[1:2] = '{}'")

    assert statement.sql == "SELECT $1, $2, x::text, y ::int[] FROM t WHERE u = $1 AND v[1:2] = '{}'"
    assert statement.arguments({"a_2": 2, "b": 1}) == [1, 2]


def test_what_is_quoted_or_said_aside_has_no_names() -> None:
    sql = """SELECT 'a :b '' :c', ":d" -- whose :e
             /* :f
             :g */ FROM t WHERE a::text = 'x'::text AND h"""

    statement = text(f"{sql} = :h")

    assert statement.sql == f"{sql} = $1"
    assert statement.names == ("h",)


@pytest.mark.parametrize("values", [{}, {"id": 1, "di": 2}, {"di": 1}])
def test_values_that_are_not_those_of_the_statement_are_an_error(values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="agree"):
        text("SELECT :id").arguments(values)
