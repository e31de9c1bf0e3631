"""What a task costs each part of the system, in CPU microseconds."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.contenders import Contender
from tests.bench.processes import Processes

#: What the load generator uses, and PostgreSQL for the questions by which the benchmark sees what is done.
MEASURING: Final = "load generator"
#: What everything else on the machine used meanwhile: much of it makes the figures worthless.
OTHERS: Final = "others"
_POSTGRES: Final = "PostgreSQL"
#: CPU by part: seconds used so far, or microseconds of one task.
Cost = dict[str, float]


def used_s(contender: Contender) -> Cost:
    """CPU seconds that each part has used so far; not the parts whose processes are not known."""
    processes, parts = Processes(), contender.parts()
    used = {part: processes.cpu_s(roots) for part, roots in parts.items() if roots} | {MEASURING: time.process_time()}
    questioner = contender.questioner()
    if questioner and any(questioner in processes.tree(root) for root in parts[_POSTGRES]):
        asked = processes.cpu_s([questioner])
        used[_POSTGRES] -= asked
        used[MEASURING] += asked
    return used | {OTHERS: processes.busy_s - sum(used.values())}


def per_task(before: Cost, after: Cost, number: int) -> Cost:
    """Microseconds of each part, of all parts, and of the others, for one of `number` tasks."""
    cost = {part: (after[part] - before[part]) / number * 1e6 for part in after}
    others = cost.pop(OTHERS)
    return cost | {"sum": sum(cost.values()), OTHERS: others}
