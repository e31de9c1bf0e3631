"""The processes of Taskmill, started from its checkout: each replaces this one, so signals reach it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from client.command.exits import CommandError

_ROOT: Final = Path(__file__).resolve().parents[2]

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="API_PORT; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="API_HOST: the address to listen on.")]
Queues = Annotated[str | None, typer.Option(metavar="QUEUES", help="WORKER_QUEUES: default:50,reports:2.")]
Modules = Annotated[str | None, typer.Option(metavar="MODULES", help="TASK_MODULES: a.b,c.d.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (("run", run), ("api", api), ("worker", worker), ("migrate", migrate)):
        app.command(name, rich_help_panel="Processes")(function)


def run(
    port: Port = None,
    host: Host = None,
    data_dir: Annotated[str | None, typer.Option(help="DATA_DIR: the folder that keeps the data.")] = None,
    queues: Queues = None,
    modules: Modules = None,
) -> None:
    """Run all of Taskmill in one process.

    API, worker and a PostgreSQL of its own; nothing has to be installed.
    """
    settings = {
        "API_PORT": port,
        "API_HOST": host,
        "DATA_DIR": data_dir,
        "WORKER_QUEUES": queues,
        "TASK_MODULES": modules,
    }
    _become(["-m", "deploy.embedded"], settings)


def api(port: Port = None, host: Host = None) -> None:
    """Run the API.

    On DATABASE_URL, RABBITMQ_URL and REDIS_URL, from the environment or .env.
    """
    _become(["-m", "api_service"], {"API_PORT": port, "API_HOST": host})


def worker(
    queues: Queues = None,
    modules: Modules = None,
    processes: Annotated[int | None, typer.Option(help="WORKER_PROCESSES: for cpu=True handlers.")] = None,
) -> None:
    """Run a worker.

    On DATABASE_URL, RABBITMQ_URL and REDIS_URL, from the environment or .env:
    taskmill worker --queues reports:4
    """
    settings = {"WORKER_QUEUES": queues, "TASK_MODULES": modules, "WORKER_PROCESSES": processes}
    _become(["-m", "worker_service"], settings)


def migrate() -> None:
    """Bring the database up to date.

    That at DATABASE_URL, from the environment or .env.
    """
    _become(["-m", "alembic", "-c", str(_ROOT / "alembic.ini"), "upgrade", "head"], {})


def _become(words: Sequence[str], settings: Mapping[str, str | int | None]) -> NoReturn:
    """Run `python` with these words in place of this process."""
    package = _ROOT / words[1].replace(".", "/")
    if words[1] != "alembic" and not (package.is_dir() or package.with_suffix(".py").is_file()):
        raise CommandError(f"{words[1]} is not part of this installation: run this in its container, or a checkout")
    given = {name: str(value) for name, value in settings.items() if value is not None}
    # Ours first, then the folder that a person is in: handlers of one's own are looked for there.
    folders = [str(_ROOT), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **given, "PYTHONPATH": os.pathsep.join(folders)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", *words], environment)
