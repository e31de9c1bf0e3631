"""Which scope each route takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_service.scopes import is_public, scopes_for

ID = "0197d9c0-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "method, path, scopes",
    [
        ("GET", "/tasks", "read"),
        ("HEAD", f"/tasks/{ID}", "read"),
        ("GET", f"/tasks/{ID}/events", "read"),
        ("GET", "/openapi.json", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/dead-letters", "read"),
        ("POST", "/tasks", "submit"),
        ("POST", "/tasks/batch", "submit"),
        ("POST", "/artifacts", "submit"),
        ("POST", "/reports/heavy", "submit"),
        ("DELETE", f"/tasks/{ID}", "operate submit"),
        ("POST", f"/tasks/{ID}/retry", "operate submit"),
        ("POST", "/queues/mail/pause", "operate"),
        ("DELETE", "/queues/mail/purge", "operate"),
        ("POST", "/dead-letters/replay", "operate"),
        ("PUT", "/schedules/nightly", "operate"),
        ("POST", "/workers/w/drain", "operate"),
        ("GET", "/keys", "operate"),
        ("POST", "/keys", "operate"),
        ("DELETE", "/keys/ci", "operate"),
        ("GET", "/audit", "operate"),
        ("HEAD", "/audit", "operate"),
        ("POST", f"/tasks/{ID}/something-new", "operate"),
        ("PATCH", "/something-new", "operate"),
        ("NONSENSE", "/", "operate"),
    ],
)
def test_each_route_takes_its_scope(method: str, path: str, scopes: str) -> None:
    assert scopes_for(method, path) == set(scopes.split())


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/docs", "/static/docs.js", "/"])
def test_probes_and_the_empty_page_need_no_key(path: str) -> None:
    assert is_public("GET", path)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/healthy"),
        ("GET", "/HEALTH"),
        ("GET", "//health"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/docs/"),
        ("POST", "/docs"),
        ("POST", "/"),
        ("GET", "/static"),
        ("GET", ""),
    ],
)
def test_nothing_else_is_public(method: str, path: str) -> None:
    assert not is_public(method, path)


@given(method=st.text(max_size=6), path=st.text(max_size=20))
def test_whatever_is_asked_takes_some_scope(method: str, path: str) -> None:
    assert scopes_for(method, path)
    assert scopes_for(method, f"/keys{path}") == {"operate"} or not path.startswith("/")
