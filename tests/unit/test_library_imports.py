"""What every worker imports must stay small: a hundred workers pay for it a hundred times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from worker_service.library import BUILT_IN

#: Libraries of tens of megabytes, or that only one kind of task needs.
HEAVY = ("PIL", "aiosmtplib", "httpx", "jinja2", "matplotlib", "numpy", "pypdfium2", "reportlab", "xlsxwriter")


def modules_after(*names: str) -> set[str]:
    """The modules of a fresh interpreter that has imported those."""
    script = (
        f"import importlib, json, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a process that has imported all built-in tasks."""
    return modules_after(*BUILT_IN)


def test_the_built_in_tasks_are_there(loaded: set[str]) -> None:
    assert set(BUILT_IN) <= loaded


@pytest.mark.parametrize("library", HEAVY)
def test_no_built_in_task_imports_a_heavy_library(loaded: set[str], library: str) -> None:
    assert library not in loaded


@pytest.mark.parametrize("service", ["worker_service.service", "api_service.composition", "api_service.app"])
def test_no_service_imports_what_only_migrations_need(service: str) -> None:
    loaded = modules_after(service)

    assert "asyncpg" in loaded
    assert not loaded & {"sqlalchemy", "alembic"}
