"""`make bench`: private servers, Taskmill as shipped, tables and a JSON file.

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
from typing import Any, Final

import uvloop

from tests.bench import machine
from tests.bench.cases import CASES, LONG_CASES, warm_up
from tests.bench.contenders import Taskmill, contenders
from tests.bench.errors import ContenderFailedError, PeersError
from tests.bench.run import Figures, Run
from tests.bench.table import costs_table, table
from tests.servers import FaultServers
from tests.servers.errors import ServersError

_ALL: Final = CASES | LONG_CASES


class Results:
    """What all rounds have found.

    Attributes:
        figures: By contender and name, one of each round.
        costs: CPU microseconds of one task, by contender, what was measured, and part; one of each round.
        samples: What the soaks have seen.
    """

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.costs: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        self.samples: list[list[Figures]] = []

    def add(self, contender: str, figures: Figures, run: Run) -> None:
        """Take in one round of one contender."""
        for name, value in figures.items():
            self.figures[contender][name].append(value)
        for name, cost in run.costs.items():
            for part, microseconds in cost.items():
                self.costs[contender][name][part].append(microseconds)
        if run.samples:
            self.samples.append(run.samples)

    def tables(self) -> str:
        """For people."""
        if not self.figures:
            return "Nothing was measured."
        return f"{table(self.figures)}\n\n{costs_table(self.costs)}" if self.costs else table(self.figures)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"figures": self.figures, "CPU µs per task": self.costs, "soak": self.samples}


def main() -> int:
    """Measure and print; returns the exit status."""
    options = _options()
    results = Results()
    try:
        _measure(options, results)
    except (ContenderFailedError, PeersError, ServersError) as error:
        _progress(str(error))
        return 1
    finally:
        print(results.tables())
        if options.json:
            options.json.write_text(json.dumps(results.as_dict(), indent=1, ensure_ascii=False) + "\n")
    return 0


def _measure(options: argparse.Namespace, results: Results) -> None:
    with FaultServers(say=print) as servers, tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        for number in range(options.rounds):
            for index, kind in enumerate(contenders()):
                _progress(f"round {number + 1} of {options.rounds}: {kind.name}")
                servers.renew()
                contender = kind(servers, Path(folder) / f"{number}-{index}.log")
                run = Run(contender, options.scale, options.minutes)
                results.add(kind.name, uvloop.run(_round(run, options.cases)), run)


async def _round(run: Run, names: list[str]) -> Figures:
    figures: Figures = {}
    try:
        await run.contender.start()
        await warm_up(run)
        for name in names:
            case, for_all = _ALL[name]
            if for_all or isinstance(run.contender, Taskmill):
                found = machine.figures() | await case(run)
                _progress(f"  {name}: {_as_json(found)}")
                figures |= found
                await asyncio.sleep(1)
    finally:
        await run.contender.close()
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
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the soak is (default 30)")
    parser.add_argument("--json", type=Path, help="a file for all figures of all rounds")
    options = parser.parse_args()
    if unknown := set(options.cases) - _ALL.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}")
    return options


def _as_json(figures: Figures) -> str:
    return json.dumps({name: round(value, 3) for name, value in figures.items()}, ensure_ascii=False)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
