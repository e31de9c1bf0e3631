"""How the settings decide who gets in."""

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from api_service.auth import Access
from shared.settings import ApiSettings

KEYS = "ops:a-key-of-0123456789"


def settings(**values: object) -> ApiSettings:
    return ApiSettings(_env_file=None, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host, auth, exposed, local_names_only",
    [
        ("127.0.0.1", "on", False, True),
        ("::1", "on", False, True),
        ("localhost", "on", False, True),
        ("0.0.0.0", "on", True, False),
        ("10.0.0.1", "on", True, False),
        ("0.0.0.0", "off", False, False),
        ("127.0.0.1", "off", False, False),
    ],
)
def test_what_can_be_reached_from_elsewhere_takes_a_key(
    host: str, auth: str, exposed: bool, local_names_only: bool
) -> None:
    access = Access.of(settings(api_host=host, auth=auth))

    assert (access.exposed, access.local_names_only) == (exposed, local_names_only)
    assert access.enabled is (auth == "on")


def test_the_keys_of_the_environment_are_read() -> None:
    access = Access.of(settings(api_keys=SecretStr(KEYS), api_rate_limit=90))

    assert [key.name for key in access.keys] == ["ops"]
    assert access.requests_per_minute == 90


def test_keys_that_nobody_is_asked_for_are_said_aloud() -> None:
    with capture_logs() as logged:
        Access.of(settings(api_keys=SecretStr(KEYS), auth="off"))

    assert [line["event"] for line in logged] == ["keys_not_asked_for"]


def test_settings_are_printed_without_their_keys() -> None:
    assert "a-key-of" not in repr(settings(api_keys=SecretStr(KEYS)))
