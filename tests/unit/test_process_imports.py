"""What a process loads is most of its memory: what it never uses stays out."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]

_MIGRATIONS_AND_CLIENT = "alembic greenlet pygments rich sqlalchemy typer"
_SERVERS = "aiormq asyncpg jsonschema_rs obstore prometheus_client redis shared.publisher shared.store tenacity"
#: What a process for `cpu=True` handlers imports: the program that it belongs to, itself, and the handler.
_OF_THE_POOL = "worker_service.__main__ worker_service.process_pool worker_service.library."


@pytest.mark.parametrize(
    "imported, unwanted",
    [
        ("worker_service.__main__ worker_service.service", f"{_MIGRATIONS_AND_CLIENT} jsonschema_rs numpy obstore"),
        ("api_service.__main__", f"{_MIGRATIONS_AND_CLIENT} numpy obstore worker_service"),
        (f"{_OF_THE_POOL}demo", f"{_MIGRATIONS_AND_CLIENT} {_SERVERS} pydantic_settings uvloop"),
        (f"{_OF_THE_POOL}reports", f"{_MIGRATIONS_AND_CLIENT} {_SERVERS} pydantic_settings uvloop"),
        (f"{_OF_THE_POOL}documents", f"{_MIGRATIONS_AND_CLIENT} {_SERVERS} pydantic_settings uvloop"),
    ],
    ids=["worker", "api", "process of demo", "process of reports", "process of documents"],
)
def test_a_process_loads_only_what_it_may_use(imported: str, unwanted: str) -> None:
    code = f"import sys, {', '.join(imported.split())}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout

    assert set(imported.split()) <= set(loaded.split())
    assert not set(unwanted.split()) & set(loaded.split())
