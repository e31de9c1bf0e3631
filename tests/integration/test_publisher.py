"""Doorbells are rung at once, and deleted once they have rung."""

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
    """An outbox that can be made to fail."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database)
        self.attempted = 0
        self.fault: Exception | None = None

    async def delete(self, rings: Sequence[Ring]) -> None:
        self.attempted += 1
        if self.fault is not None:
            raise self.fault
        await super().delete(rings)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def outbox(store: Store) -> Deletions:
    return Deletions(store)


@pytest.fixture
def publisher(store: Store, broker: MemoryBroker, outbox: Deletions) -> Publisher:
    return Publisher(broker, outbox, Pace(store.task_types))


def rung(broker: MemoryBroker) -> int:
    return len(broker.queues.queue("default").ready)


async def offer(store: Store, publisher: Publisher) -> None:
    publisher.offer((await store.submissions.accept([new_task()])).rings)


async def test_what_was_offered_is_rung_and_deleted_before_the_process_ends(
    store: Store, publisher: Publisher, broker: MemoryBroker
) -> None:
    await offer(store, publisher)
    assert len(await doorbells(store)) == 1

    publisher.start()
    await publisher.close()

    assert rung(broker) == 1
    assert await doorbells(store) == []


@pytest.mark.parametrize("fault", [DatabaseUnavailableError("away"), ZeroDivisionError("a bug")])
async def test_a_deletion_that_fails_leaves_its_doorbell_to_the_relay_and_stops_no_other(
    store: Store, publisher: Publisher, broker: MemoryBroker, outbox: Deletions, fault: Exception
) -> None:
    outbox.fault = fault
    publisher.start()
    await offer(store, publisher)
    await until(lambda: outbox.attempted == 1)

    outbox.fault = None
    await offer(store, publisher)
    await until(lambda: outbox.attempted == 2)

    async def one_is_left() -> bool:
        return len(await doorbells(store)) == 1

    await eventually(one_is_left)
    await publisher.close()
    assert rung(broker) == 2
