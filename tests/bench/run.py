"""One contender in one round: what the cases do to it, and what that costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from tests.bench.contenders import Contender
from tests.bench.costs import Cost, per_task, used_s
from tests.bench.load import Answers, Request, ask, post

Figures = dict[str, float]

#: Connections of the saturating cases.
CROWD: Final = 50
_RUNG_S: Final = 300.0
#: Tasks of one batch.
BATCH: Final = 500


@dataclass(slots=True)
class Run:
    """One contender in one round.

    Attributes:
        scale: Share of its tasks that each case takes.
        minutes: How long the soak is.
        submitted: How many of the contender's tasks must be final by now.
        costs: CPU microseconds of one task by part, for each measurement by its name.
        samples: What the soak has seen, sample by sample.
    """

    contender: Contender
    scale: float
    minutes: float = 30.0
    submitted: int = 0
    costs: dict[str, Cost] = field(default_factory=dict)
    samples: list[Figures] = field(default_factory=list)

    def number(self, ordinary: int) -> int:
        """How many of something to do at this scale: whole batches, one at least."""
        return max(BATCH, int(ordinary * self.scale) // BATCH * BATCH)

    def tasks(self) -> Iterator[Request]:
        """Submissions without end."""
        return (post("/tasks", self.contender.task(number)) for number in count())

    async def submit(self, number: int, *, connections: int = CROWD) -> Answers:
        """Submit single tasks, as fast as they are accepted.

        Raises:
            ContenderFailedError: It refuses some.
        """
        answers = await self.ask(self.tasks(), number, connections=connections)
        self.submitted += number
        return answers

    async def submit_batches(self, number: int) -> Answers:
        """Submit so many tasks in batches of 500, two at a time.

        Raises:
            ContenderFailedError: It refuses some.
        """
        task = self.contender.task
        bodies = ({"tasks": [task(n) for n in range(BATCH)]} for _ in count())
        return await self.submit_bodies(bodies, number)

    async def submit_bodies(self, bodies: Iterable[Any], number: int) -> Answers:
        """Submit batches of 500 that are given, as `submit_batches` does."""
        requests = (post("/tasks/batch", body) for body in bodies)
        answers = await self.ask(requests, number // BATCH, connections=2)
        self.submitted += number // BATCH * BATCH
        return answers

    async def ask(self, requests: Iterator[Request], number: int, *, connections: int = CROWD) -> Answers:
        """Send requests that all must be granted.

        Raises:
            ContenderFailedError: Some are not.
        """
        failure = self.contender.failure
        try:
            answers = await ask(self.contender.url, requests, number=number, connections=connections)
        except OSError as error:
            raise failure(f"hangs up ({error})", "Its log may tell why it died.") from error
        if answers.bad:
            what = f"refuses {answers.bad} of {number} requests, one of them with {answers.first_bad}"
            raise failure(what, "All requests of a case must be granted for its figures to mean anything.")
        return answers

    async def done(self) -> float:
        """When the last of all that was submitted was final (seconds since 1970)."""
        return await self.contender.until_done(self.submitted)

    async def until_rung(self) -> None:
        """Wait until Taskmill's outbox is empty: the broker has all that was accepted.

        Raises:
            ContenderFailedError: It is not within five minutes.
        """
        deadline = time.monotonic() + _RUNG_S
        while number := (await self.contender.query("SELECT count(*) FROM outbox"))[0]:
            self.contender.require_alive()
            if time.monotonic() > deadline:
                raise self.contender.failure(
                    f"has not rung for {number} tasks", "The relay runs in the workers alone."
                )
            await asyncio.sleep(0.1)

    @contextmanager
    def cost(self, name: str, number: int) -> Iterator[None]:
        """Note what one of `number` tasks, or whatever the block does so often, costs each part."""
        before = used_s(self.contender)
        yield
        self.costs[name] = per_task(before, used_s(self.contender), number)
