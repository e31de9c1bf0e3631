"""Which requests a foreign web page has sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from api_service.origins import is_foreign_host, is_foreign_origin


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8000"},
        {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"},
        {"host": "localhost", "origin": "https://localhost"},
        {"host": "10.0.0.1:8000", "x-forwarded-host": "tasks.example.org", "origin": "https://tasks.example.org"},
    ],
)
def test_our_own_page_and_programs_are_not_foreign(headers: dict[str, str]) -> None:
    assert not is_foreign_origin(Headers(headers))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:8001",
        "http://127.0.0.1",
        "http://127.0.0.1:8000.evil.example",
        "http://127.0.0.1:8000@evil.example",
        "file://127.0.0.1:8000",
        "null",
        "",
        "http://",
        "127.0.0.1:8000",
    ],
)
def test_any_other_page_is(origin: str) -> None:
    assert is_foreign_origin(Headers({"host": "127.0.0.1:8000", "origin": origin}))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "127.1.2.3", "localhost", "LOCALHOST:80", "localhost.", "[::1]", "[::1]:80"],
)
def test_this_machine_has_these_names(host: str) -> None:
    assert not is_foreign_host(Headers({"host": host}))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        ":",
        "[",
        "127.0.0.1.evil.example",
    ],
)
def test_and_no_others(host: str) -> None:
    assert is_foreign_host(Headers({"host": host}))


def test_a_request_of_http_1_0_names_nobody() -> None:
    assert not is_foreign_host(Headers({}))


@given(host=st.text(max_size=20), origin=st.text(max_size=30))
def test_any_text_is_judged(host: str, origin: str) -> None:
    headers = Headers(
        raw=[(b"host", host.encode("latin-1", "replace")), (b"origin", origin.encode("latin-1", "replace"))]
    )

    assert isinstance(is_foreign_host(headers), bool)
    assert isinstance(is_foreign_origin(headers), bool)
