"""What a log line looks like to whoever reads it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.telemetry.logging import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    structlog.configure(**configured)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_line_stays_one_line_and_commands_no_terminal(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format_=format_, level="info", service="probe")

    structlog.get_logger("probe").info("request_answered", path="/\x1b[2J\nforged line", name="Zoë")

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "2J" in said
    assert "Zoë" in said
    if format_ == "json":
        assert json.loads(said)["path"] == "/\x1b[2J\nforged line"


def test_a_traceback_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format_="console", level="info", service="probe")
    try:
        raise ValueError("it broke")
    except ValueError:
        structlog.get_logger("probe").exception("request_failed")

    assert "ValueError: it broke" in capsys.readouterr().err.splitlines()
