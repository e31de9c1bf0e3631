"""Doorbells are rung at once and deleted together a little later."""

from collections.abc import Sequence

import pytest

from shared.broker.memory import MemoryBroker
from shared.domain.ring import Ring
from shared.errors import DatabaseUnavailableError
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.outbox import Outbox
from shared.store.store import Store
from tests.builders import doorbells, eventually, new_task
from tests.listening import until


class Deletions(Outbox):
    """An outbox that counts its deletions, and can be made to fail."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database)
        self.sizes: list[int] = []
        self.fault: Exception | None = None

    async def delete(self, rings: Sequence[Ring]) -> None:
        self.sizes.append(len(rings))
        if self.fault is not None:
            raise self.fault
        await super().delete(rings)


def rung(broker: MemoryBroker) -> int:
    return len(broker.queues.queue("default").ready)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def outbox(store: Store) -> Deletions:
    return Deletions(store)


@pytest.fixture
def publisher(store: Store, broker: MemoryBroker, outbox: Deletions) -> Publisher:
    return Publisher(broker, outbox, Pace(store.task_types))


async def offer(store: Store, publisher: Publisher) -> None:
    publisher.offer((await store.submissions.accept([new_task()])).rings)


async def test_doorbells_that_rang_one_after_the_other_are_deleted_together(
    store: Store, publisher: Publisher, broker: MemoryBroker, outbox: Deletions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.publisher._GATHER_S", 1.0)
    publisher.start()
    for number in range(1, 4):
        await offer(store, publisher)
        await until(lambda number=number: rung(broker) == number)  # type: ignore[misc]
    assert len(await doorbells(store)) == 3

    async def all_are_deleted() -> bool:
        return await doorbells(store) == []

    await eventually(all_are_deleted)
    await publisher.close()
    assert outbox.sizes == [3]


async def test_what_has_rung_is_deleted_before_the_process_ends(
    store: Store, publisher: Publisher, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.publisher._GATHER_S", 60.0)
    publisher.start()
    await offer(store, publisher)
    await until(lambda: rung(broker) == 1)

    await publisher.close()

    assert await doorbells(store) == []


@pytest.mark.parametrize("fault", [DatabaseUnavailableError("away"), ZeroDivisionError("a bug")])
async def test_a_deletion_that_fails_leaves_its_doorbells_to_the_relay_and_stops_no_other(
    store: Store, publisher: Publisher, broker: MemoryBroker, outbox: Deletions, fault: Exception
) -> None:
    outbox.fault = fault
    publisher.start()
    await offer(store, publisher)
    await until(lambda: outbox.sizes == [1])

    outbox.fault = None
    await offer(store, publisher)

    async def one_is_left() -> bool:
        return len(await doorbells(store)) == 1

    await until(lambda: outbox.sizes == [1, 1])
    await eventually(one_is_left)
    await publisher.close()
    assert rung(broker) == 2
