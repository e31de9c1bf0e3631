"""Settings: what is taken, what stops the process, and that the example file tells the truth."""

import re
from pathlib import Path
from typing import Any

import dotenv
import pytest

from shared.errors import SettingsError
from shared.settings import (
    ALL_SETTINGS,
    COMPOSE_NAMES,
    ApiSettings,
    EmbeddedSettings,
    ServiceSettings,
    WorkerSettings,
    load,
    load_or_exit,
    parse_queues,
    setting_names,
)
from worker_service.library import BUILT_IN
from worker_service.service import worker_options

ROOT = Path(__file__).parents[2]
# A commented-out default is a line like `#NAME=value`; prose has a blank after the `#`.
ENTRY = re.compile(r"#?([A-Z_]+)=(.*)")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)


def example_entries() -> list[tuple[str, str]]:
    return [match.groups() for match in map(ENTRY.fullmatch, _example().splitlines()) if match]  # type: ignore[misc]


def _example() -> str:
    return (ROOT / ".env.example").read_text()


def fields_of(kind: type[ServiceSettings]) -> dict[str, Any]:
    return {name.upper(): field for name, field in kind.model_fields.items()}


# The example file .....................................................................


def test_the_example_names_every_setting_and_nothing_else_and_none_twice() -> None:
    names = [name for name, _ in example_entries()]

    assert sorted(names) == sorted(setting_names() | COMPOSE_NAMES)


@pytest.mark.parametrize("kind", ALL_SETTINGS)
def test_every_value_of_the_example_loads(kind: type[ServiceSettings]) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in example_entries()))

    loaded = load(kind)

    assert loaded.database_url


@pytest.mark.parametrize("kind", [ApiSettings, WorkerSettings])
def test_what_the_example_has_commented_out_is_the_default(kind: type[ServiceSettings]) -> None:
    shown = {
        line[1:].partition("=")[0] for line in _example().splitlines() if ENTRY.fullmatch(line) and line[0] == "#"
    }
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in example_entries() if name in shown))

    assert load(kind) == kind(_env_file=None)


def test_the_example_can_be_copied_as_it_is() -> None:
    Path(".env").write_text(_example())

    assert load(EmbeddedSettings).auth == "off"


def test_the_compose_file_needs_no_secret_that_the_example_lacks() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()

    assert set(dotenv.dotenv_values(ROOT / ".env.example")) >= COMPOSE_NAMES
    assert set(re.findall(r"\$\{([A-Z_]+_PASSWORD)\b", compose)) == COMPOSE_NAMES


# Loading ..............................................................................


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("API_PORT=1\n")
    monkeypatch.setenv("API_PORT", "2")

    assert load(ApiSettings).api_port == 2


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_HEARTBEAT_SECONDS", "")

    assert load(WorkerSettings).worker_heartbeat_seconds == 2


@pytest.mark.parametrize(
    "name, value",
    [
        ("WORKER_HEARTBEAT_SECONDS", "0"),
        ("WORKER_STALE_SECONDS", "soon"),
        ("SHUTDOWN_GRACE_SECONDS", "-1"),
        ("TASK_TIMEOUT", "nan"),
        ("TASK_TIMEOUT", "inf"),
        ("WORKER_PROCESSES", "-1"),
        ("DATABASE_POOL_SIZE", "1"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("BROKER_QUEUE_TYPE", "stream"),
        ("WORKER_QUEUES", "default"),
        ("RETENTION_DAYS", "0"),
    ],
)
def test_an_invalid_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=rf"^{name}: "):
        load(WorkerSettings)


def test_a_misspelt_name_in_the_file_is_refused_with_the_right_one() -> None:
    Path(".env").write_text("WORKER_QUEUE=default:5\n")

    with pytest.raises(SettingsError, match=r"WORKER_QUEUE in \.env is not a setting; did you mean WORKER_QUEUES\?"):
        load(WorkerSettings)


def test_a_name_that_resembles_none_of_ours_may_stand_in_the_file() -> None:
    Path(".env").write_text("MY_OWN_APPLICATION=1\nCOMPOSE_PROJECT_NAME=x\n")

    assert load(ApiSettings).api_port == 8000


def test_a_process_that_can_not_load_its_settings_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_PORT", "70000")

    with pytest.raises(SystemExit) as ended:
        load_or_exit(ApiSettings)

    assert ended.value.code == 2
    assert re.fullmatch(r"taskmill: API_PORT: [^\n]*\n", capsys.readouterr().err)


# Queues ...............................................................................


def test_queues_and_their_concurrency_are_read_in_order() -> None:
    assert list(parse_queues(" default:50, reports:2 ,").items()) == [("default", 50), ("reports", 2)]


@pytest.mark.parametrize(
    "text",
    ["", " , ", "default", "default:", "default:0", "default:-1", "default:1.5", "default:10000", "default:١",
     "Default:1", "a b:1", ":1", "default\n:1", "default:1\n,default:2", f"{'q' * 65}:1", "a:1:2"],
)  # fmt: skip
def test_queues_that_can_not_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"queue|QUEUE"):
        parse_queues(text)


# A worker's options ...................................................................


def options_from(**environment: str) -> Any:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    return worker_options(load(WorkerSettings), "postgresql://somewhere/else")


def test_a_worker_imports_the_built_in_modules_before_those_that_are_named() -> None:
    assert options_from(TASK_MODULES=" a.b, ,c ").modules == (*BUILT_IN, "a.b", "c")


@pytest.mark.parametrize("heartbeat, stale, beats_each_s", [(2, 10, 2), (2, 4, 1), (30, 10, 2.5)])
def test_heartbeats_are_never_so_far_apart_that_no_worker_counts_as_steady(
    heartbeat: float, stale: float, beats_each_s: float
) -> None:
    options = options_from(WORKER_HEARTBEAT_SECONDS=str(heartbeat), WORKER_STALE_SECONDS=str(stale))

    assert options.heartbeat_s == beats_each_s
