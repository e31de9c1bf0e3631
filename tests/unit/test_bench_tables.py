"""What the benchmark makes of its figures."""

import os
import subprocess
import sys

from tests.bench.processes import Processes, frozen
from tests.bench.slopes import slopes, slopes_table
from tests.bench.table import costs_table, table


def test_a_ratio_is_taken_round_by_round() -> None:
    results = {"ours": {"POST/s": [100.0, 400.0, 300.0]}, "theirs": {"POST/s": [50.0, 100.0, 100.0]}}

    row = table(results).splitlines()[-1]

    assert row == "| POST/s | 300 (100 to 400) | 100 (50 to 100) | 3.00× |"


def test_what_the_others_cannot_do_is_held_against_what_they_can() -> None:
    results = {"ours": {"drain/s, 1 worker": [4000.0]}, "theirs": {"drain of that/s": [400.0]}}

    assert table(results).endswith("| 4,000 | 400 | 10.00× |")


def test_the_cost_of_each_part_is_the_median_of_its_rounds() -> None:
    costs = {
        "ours": {"drain": {"api": [1.0, 2.0, 9.0], "sum": [5.0]}},
        "theirs": {"drain": {"api": [70.0], "sum": [1234.0]}, "alone": {"api": [3.0]}},
    }

    assert costs_table(costs).splitlines() == [
        "| CPU µs per task | | api | sum |",
        "|---|---|---|---|",
        "| drain | ours | 2 | 5 |",
        "| drain | theirs | 70 | 1,234 |",
        "| alone | theirs | 3 |  |",
    ]


def test_the_time_of_children_that_have_ended_counts() -> None:
    before = Processes().cpu_s([os.getpid()])

    subprocess.run([sys.executable, "-c", "sum(n * n for n in range(10_000_000))"], check=True)

    assert Processes().cpu_s([os.getpid()]) - before >= 0.1


def test_a_frozen_tree_goes_on_afterwards() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with frozen([process.pid]):
            _, status = os.waitpid(process.pid, os.WUNTRACED)
        process.communicate(b"\n", timeout=60)

    assert os.WIFSTOPPED(status)
    assert process.returncode == 0


def test_a_figure_that_grows_by_more_than_noise_rises() -> None:
    memory = [100.0, 101, 99, 120, 140, 139, 141]
    latency = [2.0, 9, 2, 2, 2, 9, 2]
    samples = [
        {"api memory MiB": mib, "POST p50 ms": ms, "tasks rows": number * 1000.0}
        for number, (mib, ms) in enumerate(zip(memory, latency, strict=True))
    ]

    found = slopes(samples)

    assert [slope.verdict for slope in found] == ["RISES", "level", "not judged"]
    assert slopes_table(found).endswith("The soak shows a slope: api memory MiB")


def test_a_level_soak_is_called_so() -> None:
    samples = [{"outbox rows": rows} for rows in (0.0, 40, 3, 90, 2, 0)]

    assert slopes_table(slopes(samples)).endswith("The soak is level.")
