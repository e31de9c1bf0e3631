"""What a consumer claims at one time, while PostgreSQL takes its time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from shared.domain.message import Due, encode
from shared.ids import new_task_id
from tests.listening import until
from worker_service import consumer as module
from worker_service.consumer import QueueConsumer


class SlowStore:
    """A store whose claims last until they are let go, and then find nothing; it remembers what was asked."""

    def __init__(self) -> None:
        self.claims: list[list[Due]] = []
        self.rung: list[Due] = []
        self.may_answer = asyncio.Event()
        self.database = self.lifecycle = self.outbox = self

    async def persist(self, work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()

    async def claim(self, due: Sequence[Due], **_: Any) -> list[Any]:
        self.claims.append(list(due))
        await self.may_answer.wait()
        return []

    async def postpone_unknown(self, *_: Any) -> int:
        return 0

    async def ring_queued(self, due: Sequence[Due]) -> int:
        self.rung += due
        return len(due)


class _Broker:
    def __init__(self) -> None:
        self.deliver: Callable[[Any], None] | None = None

    async def subscribe(self, _: str, *, prefetch: int, on_delivery: Callable[[Any], None]) -> Any:
        async def close() -> None:
            pass

        self.deliver = on_delivery
        return SimpleNamespace(consuming=True, close=close)


class Bench:
    """A consumer with eight slots between a store and a broker of the test."""

    def __init__(self) -> None:
        self.store, self.broker, self.acked = SlowStore(), _Broker(), 0
        self.consumer = QueueConsumer(
            "default",
            8,
            broker=self.broker,  # type: ignore[arg-type]
            store=self.store,  # type: ignore[arg-type]
            news=Mock(),
            registry=Mock(),
            executor=Mock(is_running=lambda *_: False),
            has_room=lambda: True,
            worker_id="a",
            default_timeout_s=60,
        )

    def ring(self, *due: Due) -> None:
        assert self.broker.deliver is not None
        self.broker.deliver(SimpleNamespace(body=encode(due), ack=self._ack, reject=Mock()))

    def _ack(self) -> None:
        self.acked += 1


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with _running(Bench()) as running:
        yield running


@asynccontextmanager
async def _running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.consumer.run())
    await until(lambda: bench.broker.deliver is not None)
    yield bench
    bench.store.may_answer.set()
    await bench.consumer.stop()
    await task


def attempts(number: int) -> list[Due]:
    return [Due(new_task_id(), 1) for _ in range(number)]


async def test_the_next_tasks_are_claimed_while_the_last_claim_is_in_flight(bench: Bench) -> None:
    due = attempts(20)
    bench.ring(*due)

    await until(lambda: len(bench.store.claims) == 2)
    await asyncio.sleep(0.02)
    assert bench.store.claims == [due[:4], due[4:8]]

    bench.store.may_answer.set()
    await until(lambda: bench.acked == 1)
    assert [entry for claim in bench.store.claims for entry in claim] == due


async def test_a_few_tasks_wait_for_the_claim_in_flight_and_are_claimed_together(bench: Bench) -> None:
    first, *others = attempts(4)
    bench.ring(first)
    await until(lambda: len(bench.store.claims) == 1)
    for entry in others:
        bench.ring(entry)
        await asyncio.sleep(0.005)
    assert bench.store.claims == [[first]]

    bench.store.may_answer.set()
    await until(lambda: bench.acked == 4)
    assert bench.store.claims == [[first], others]


async def test_a_copy_of_what_is_being_claimed_is_not_claimed_again(bench: Bench) -> None:
    due = attempts(4)
    bench.ring(*due)
    await until(lambda: len(bench.store.claims) == 1)

    bench.ring(*due)

    await until(lambda: bench.acked == 1)
    assert len(bench.store.claims) == 1


async def test_nothing_is_handed_back_while_claims_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOARDED_S", 0.01)
    async with _running(Bench()) as bench:
        bench.ring(*attempts(20))
        await until(lambda: len(bench.store.claims) == 2)

        await asyncio.sleep(0.1)

        assert bench.store.rung == []
