"""Taskmill embedded, as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_START_S: Final = 60.0
_STOP_S: Final = 30.0


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[str]:
    """The address of Taskmill embedded, with its data and its log in `folder`, until the block ends."""
    log_path = folder / "embedded.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.embedded"],
            cwd=folder,  # where there is no `.env` of a developer
            env=environment(API_PORT="0", DATA_DIR=str(folder / "data"), **settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield _address(process, log_path)
        finally:
            process.terminate()
            process.communicate(timeout=_STOP_S)


def environment(**settings: str) -> dict[str, str]:
    """What a process of ours gets to see: these settings and none of a developer's."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


def _address(process: "subprocess.Popen[str]", log_path: Path) -> str:
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r"Swagger UI +(http://\S+)/docs", line):
            return found[1]
    raise AssertionError(f"it ended with {process.wait()} before it had started:\n{log_path.read_text()[-4000:]}")
