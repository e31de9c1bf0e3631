"""Settings, read once at the edge from the environment and `.env`; inside, everything gets plain values."""

import difflib
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import dotenv
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.artifacts import require_artifacts_url
from shared.domain.access import parse_keys
from shared.domain.mail import parse_mail_server, parse_mailbox
from shared.domain.signing import parse_secrets
from shared.domain.task_type import DEFAULT_QUEUE, DEFAULT_TIMEOUT_S, QUEUE_PATTERN
from shared.errors import SettingsError

#: Names that `.env` may hold for the compose stack alone; no process of ours reads them.
COMPOSE_NAMES: Final = frozenset({"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD"})
_ENV_FILE: Final = ".env"

Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]


class _Settings(BaseSettings):
    # Names of other services' settings stand in the same `.env`, so unknown ones are not refused here but
    # in `load`, which knows them all.
    model_config = SettingsConfigDict(env_file=_ENV_FILE, extra="ignore", env_ignore_empty=True)


class DatabaseSettings(_Settings):
    """What the migrations need."""

    database_url: str = Field(
        "postgresql://taskmill:taskmill@localhost:5432/taskmill",
        description="PostgreSQL 15 or newer, the truth",
    )


class LoggingSettings(_Settings):
    """How every process logs."""

    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least level logged")


class ServiceSettings(DatabaseSettings, LoggingSettings):
    """What API and worker share."""

    rabbitmq_url: str = Field(
        "amqp://guest:guest@localhost:5672/", description="RabbitMQ 3.10 or newer, the doorbell"
    )
    redis_url: str = Field("redis://localhost:6379/0", description="Redis 6.2 or newer, may forget")
    database_pool_size: int = Field(10, ge=2, le=200, description="PostgreSQL connections of one process")
    broker_queue_type: Literal["quorum", "classic"] = Field(
        "quorum", description="type of the RabbitMQ queues; can't be changed while they exist"
    )
    startup_timeout_seconds: Seconds = Field(
        60, description="how long a starting process waits for PostgreSQL and its schema"
    )
    artifacts_url: str = Field(
        "",
        description="where files are kept: `file:///folder` or `s3://bucket/prefix`, the same for API and workers;"
        " unset: the folder `data/artifacts`, embedded `artifacts` in DATA_DIR",
    )
    result_ttl: Seconds = Field(3600, description="seconds that the status of a succeeded task stays in Redis")
    failure_ttl: Seconds = Field(
        30, description="seconds that other final statuses, which may be retried, stay there"
    )
    webhook_allow_private: Literal["on", "off"] = Field(
        "off", description="`on` lets a callback_url lead to private and loopback addresses"
    )

    @property
    def artifacts_at(self) -> str:
        """The address of the artifact store."""
        return self.artifacts_url or self._artifacts_folder().resolve().as_uri()

    def _artifacts_folder(self) -> Path:
        return Path("data", "artifacts")

    @field_validator("artifacts_url")
    @classmethod
    def _artifacts_can_be_kept(cls, value: str) -> str:
        if value:
            require_artifacts_url(value)
        return value


class ApiSettings(ServiceSettings):
    """What `python -m api_service` reads."""

    api_host: str = Field("127.0.0.1", description="address to listen on")
    api_port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    auth: Literal["on", "off"] = Field(
        "on", description="`off`: no key is asked for, whatever address the API listens on"
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="keys that open the API, with commas between: `KEY`, `name:KEY` or `name:scope+scope:KEY`",
    )
    api_rate_limit: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="requests a minute where a key has no limit of its own, in each API process; 0: no limit",
    )
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="largest request body; more is answered 413")
    max_batch_body_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="largest body of POST /tasks/batch; more is answered 413"
    )
    max_artifact_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="largest file of POST /artifacts; more is answered 413"
    )

    @field_validator("api_keys")
    @classmethod
    def _keys_can_be_read(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value


class WorkerSettings(ServiceSettings):
    """What `python -m worker_service` reads."""

    worker_queues: str = Field(
        f"{DEFAULT_QUEUE}:200,reports:2,documents:2,notifications:10",
        description="queues to consume and how many tasks of each at once; `system` comes with them",
    )
    task_modules: str = Field("", description="modules with handlers to import besides the built-in ones: `a.b,c.d`")
    worker_processes: int = Field(0, ge=0, description="processes for `cpu=True` handlers; 0: one for each core")
    worker_heartbeat_seconds: Seconds = Field(
        2, description="pause between heartbeats; a quarter of WORKER_STALE_SECONDS where that is less"
    )
    worker_stale_seconds: Seconds = Field(10, description="without a heartbeat for so long a worker counts as lost")
    shutdown_grace_seconds: float = Field(
        30,
        ge=0,
        le=86400,
        description="how long a stopping worker lets its tasks run before it hands them back",
    )
    task_timeout: Seconds = Field(DEFAULT_TIMEOUT_S, description="hard limit of one attempt where its type sets none")
    reconcile_after_seconds: Seconds = Field(
        60, description="age at which queued tasks are rung again if RabbitMQ's queue is empty"
    )
    retention_days: Seconds = Field(7, description="days that final tasks are kept")
    built_in_schedules: Literal["on", "off"] = Field(
        "on", description="`off`: this worker neither creates nor runs the schedules that come with Taskmill"
    )

    webhook_secret: str = Field(
        "",
        description="`whsec_…`, signs webhooks; several for a change of secrets; without it they are not signed",
    )
    smtp_url: str = Field(
        "", description="mail server: `smtp://USER:PASSWORD@HOST:587` or `smtps://…`; without it no mail is sent"
    )
    smtp_from: str = Field("", description="sender of mail that names none: `Shop <shop@example.org>`")

    @field_validator("webhook_secret")
    @classmethod
    def _secrets_can_be_read(cls, value: str) -> str:
        parse_secrets(value)
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server_can_be_read(cls, value: str) -> str:
        if value:
            parse_mail_server(value)
        return value

    @field_validator("smtp_from")
    @classmethod
    def _sender_can_be_read(cls, value: str) -> str:
        if value:
            parse_mailbox(value)
        return value

    @field_validator("worker_queues")
    @classmethod
    def _queues_can_be_read(cls, value: str) -> str:
        parse_queues(value)
        return value


class EmbeddedSettings(ApiSettings, WorkerSettings):
    """What `python -m deploy.embedded` reads; the addresses of the three servers are its own."""

    log_format: Literal["json", "console"] = Field("console", description="`json` for machines, `console` for people")
    data_dir: Path = Field(Path("data"), description="folder that keeps the data of the embedded mode")

    def _artifacts_folder(self) -> Path:
        return self.data_dir / "artifacts"


ALL_SETTINGS: Final = (ApiSettings, WorkerSettings, EmbeddedSettings)
S = TypeVar("S", bound=_Settings)


def load(kind: type[S]) -> S:
    """The settings of one process.

    Raises:
        SettingsError: A value is invalid, or `.env` misspells a name; the message names the variable.
    """
    _require_known_names()
    try:
        return kind()
    except ValidationError as error:
        faults = (f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        raise SettingsError("; ".join(faults).replace(": Value error, ", ": ")) from error


def load_or_exit(kind: type[S]) -> S:
    """The settings of one process, or its end with status 2 and one line that names the variable."""
    try:
        return load(kind)
    except SettingsError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        sys.exit(2)


def parse_queues(text: str) -> dict[str, int]:
    """`default:50,reports:2` as a mapping from queue to concurrency.

    Raises:
        ValueError: It can't be read.
    """
    queues: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, concurrency = entry.partition(":")
        if not re.fullmatch(QUEUE_PATTERN, name):
            raise ValueError(f"{name!r} is no name of a queue: use 1 to 64 of a-z 0-9 . _ -")
        if not re.fullmatch(r"[1-9][0-9]{0,3}", concurrency):
            raise ValueError(f"{entry!r} is not QUEUE:CONCURRENCY with a concurrency from 1 to 9999")
        if name in queues:
            raise ValueError(f"queue {name!r} is named twice")
        queues[name] = int(concurrency)
    if not queues:
        raise ValueError("names no queue; write QUEUE:CONCURRENCY, like default:50")
    return queues


def setting_names() -> frozenset[str]:
    """Every variable that a process of ours reads."""
    return frozenset(name.upper() for kind in ALL_SETTINGS for name in kind.model_fields)


def _require_known_names() -> None:
    known = setting_names() | COMPOSE_NAMES
    for name in _names_in(Path(_ENV_FILE)):
        if name not in known and (meant := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
            raise SettingsError(f"{name} in {_ENV_FILE} is not a setting; did you mean {meant[0]}?")


def _names_in(path: Path) -> list[str]:
    values: dict[str, Any] = dict(dotenv.dotenv_values(path)) if path.is_file() else {}
    return [name.upper() for name in values]
