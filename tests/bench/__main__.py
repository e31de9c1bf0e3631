"""`make bench`: private servers, Taskmill as shipped, a table and a JSON file.

With PEERS=DIR (a folder with `http_aiopika`, `http_celery` and `requirements/http.txt`) the hand-written services
take turns with Taskmill, round by round, so that each ratio comes from one run on one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import uvloop

from tests.bench import processes
from tests.bench.cases import CASES, LONG_CASES, Run, as_json, warm_up
from tests.bench.contenders import Contender, Taskmill, contenders
from tests.bench.table import table
from tests.servers import FaultServers

_ALL: Final = CASES | LONG_CASES
Results = dict[str, dict[str, list[float]]]


def main() -> int:
    """Measure and print; returns the exit status."""
    options = _options()
    results: Results = defaultdict(lambda: defaultdict(list))
    with FaultServers(say=print) as servers, tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        for number in range(options.rounds):
            for contender in contenders():
                _progress(f"round {number + 1} of {options.rounds}: {contender.name}")
                servers.renew()
                figures = uvloop.run(_round(contender(servers, Path(folder) / "log"), options.cases, options.scale))
                for name, value in figures.items():
                    results[contender.name][name].append(value)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return 0


async def _round(contender: Contender, names: list[str], scale: float) -> dict[str, float]:
    is_ours = isinstance(contender, Taskmill)
    figures: dict[str, float] = {}
    try:
        run = Run(await contender.start(), scale)
        await warm_up(run)
        for name in names:
            case, for_all = _ALL[name]
            if is_ours or for_all:
                found = {"speed of the machine ms": processes.speed_ms()} | await case(run)
                _progress(f"  {name}: {as_json(found)}")
                figures |= found
                await asyncio.sleep(1)
    finally:
        contender.stop()
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "--cases",
        type=lambda text: text.split(","),
        default=list(CASES),
        help=f"which, of {', '.join(_ALL)}; without it all but {', '.join(LONG_CASES)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the tasks that each case takes (default 1)"
    )
    parser.add_argument("--json", type=Path, help="a file for all figures of all rounds")
    options = parser.parse_args()
    if unknown := set(options.cases) - _ALL.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}")
    return options


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
