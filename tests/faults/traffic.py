"""Clients that submit and read without a pause, while the test breaks something."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import uuid4

import httpx

from tests.faults.stack import Stack

_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. `status` is None where the connection broke before there was an answer."""

    status: int | None
    seconds: float
    retry_after: str | None = None


@dataclass(slots=True)
class Traffic:
    """Some clients, each of which submits a short task and reads an earlier one, again and again.

    A submission that is refused or gets no answer is repeated with its Idempotency-Key until it is answered.

    Attributes:
        submissions: Every answer to a submission.
        reads: Every answer to a read.
        promised: The task that each key was answered with.
    """

    stack: Stack
    clients: int = 3
    submissions: list[Answer] = field(default_factory=list)
    reads: list[Answer] = field(default_factory=list)
    promised: dict[str, str] = field(default_factory=dict)
    _stopping: bool = False
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(self._go_on()) for _ in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.give_up()
        await asyncio.gather(*self._running)

    def give_up(self) -> None:
        """Repeat nothing that gets no answer from now on."""
        self._stopping = True

    async def more(self, number: int = 15) -> None:
        """Wait until so many more submissions were accepted."""
        wanted = len(self.promised) + number

        def is_enough() -> bool:
            for client in self._running:
                if client.done():
                    client.result()
            return len(self.promised) >= wanted

        await self.stack.until(is_enough, 60, f"{number} more submissions")

    def require_accepted(self) -> None:
        """Fail unless every submission so far was accepted at the first try and every read answered."""
        assert {answer.status for answer in self.submissions} == {202}
        assert {answer.status for answer in self.reads} == {200}

    async def _go_on(self) -> None:
        while not self._stopping:
            task_id = await self._submit()
            if task_id is not None:
                await self._read(task_id)
            await asyncio.sleep(_PAUSE_S)

    async def _submit(self) -> str | None:
        key = uuid4().hex
        while True:
            began = time.monotonic()
            try:
                answer = await self.stack.post("trail.sleep", key=key)
            except httpx.HTTPError:
                self.submissions.append(Answer(None, time.monotonic() - began))
            else:
                seconds = time.monotonic() - began
                self.submissions.append(Answer(answer.status_code, seconds, answer.headers.get("retry-after")))
                if answer.status_code in {200, 202}:
                    task_id: str = answer.json()["task_id"]
                    self.promised[key] = task_id
                    if answer.status_code == 200:  # stored by a request that nobody answered
                        self.stack.accepted.append(task_id)
                    return task_id
            if self._stopping:
                return None
            await asyncio.sleep(_PAUSE_S)

    async def _read(self, task_id: str) -> None:
        began = time.monotonic()
        try:
            answer = await self.stack.read(task_id)
        except httpx.HTTPError:
            self.reads.append(Answer(None, time.monotonic() - began))
        else:
            self.reads.append(Answer(answer.status_code, time.monotonic() - began, answer.headers.get("retry-after")))
