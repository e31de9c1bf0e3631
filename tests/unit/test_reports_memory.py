"""Long tables in bounded memory, measured in a process of their own, as the pool has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

#: Megabytes that a report may take beyond what its libraries do.
_ROOM_MB = 250

# The libraries of a format are there before the measuring begins: a process of the pool keeps them too.
_SCRIPT = """
import json, resource, sys
from worker_service.library.reports import heavy
from worker_service.testing import run_task

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def report(csv):
    return run_task(heavy, {"format": sys.argv[1], "title": "Long", "source": SOURCE}, files={SOURCE: csv}).result

def line(n):
    cells = n, f"2026-01-{n % 28 + 1:02}", "nesw"[n % 4], f"product {n % 500}", n % 99, n % 1013 / 7, n * n % 1009
    return ",".join(map(str, cells)) + f",note {n}"

SOURCE = "/artifacts/01990000-0000-7000-8000-000000000000"
HEADER = "id,day,region,product,units,price,square,note"
report("\\n".join([HEADER, line(1)]).encode())
csv = "\\n".join([HEADER, *map(line, range(int(sys.argv[2])))]).encode()
before = peak_mb()
result = report(csv)
print(json.dumps({"grown": peak_mb() - before, "rows": result["rows"]}))
"""


@pytest.mark.parametrize("format_, rows", [("analysis", 100_000), ("excel", 30_000), ("pdf", 15_000)])
def test_a_long_table_takes_little_memory(format_: str, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, format_, str(rows)], cwd=_ROOT, capture_output=True, text=True, timeout=110
    )

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["rows"] == rows
    assert measured["grown"] < _ROOM_MB * rows / 100_000 + 20
