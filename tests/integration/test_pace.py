"""What workers measure decides how many doorbells travel in one message."""

import pytest

from shared.broker.memory import MemoryBroker
from shared.domain.task_type import TaskTypeInfo
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.store import Store
from tests.builders import TYPE, new_task


@pytest.fixture(autouse=True)
async def _announced(store: Store) -> None:
    await store.task_types.announce([TaskTypeInfo(name=TYPE, payload_schema={}, result_schema={})])


async def messages_for(store: Store, tasks: int) -> int:
    """How many messages a process sends that has just learnt what was measured."""
    pace, broker = Pace(store.task_types), MemoryBroker()
    await pace.refresh()
    born = await store.submissions.accept([new_task() for _ in range(tasks)])

    assert len(await Publisher(broker, store.outbox, pace).publish(born.rings)) == tasks
    return len(broker.queues.queue("default").ready)


async def test_what_nobody_has_measured_travels_alone(store: Store) -> None:
    assert await messages_for(store, 5) == 5


async def test_what_a_worker_has_found_short_travels_together(store: Store) -> None:
    worker = Pace(store.task_types)
    for _ in range(3):
        worker.note(TYPE, 0.001)
    await worker.share()

    assert await messages_for(store, 100) == 2


async def test_a_type_that_gets_slow_travels_alone_at_once_and_a_fast_one_together_later(store: Store) -> None:
    await store.task_types.measure({TYPE: 0.001})
    await store.task_types.measure({TYPE: 5.0})
    assert (await store.task_types.means())[TYPE] == 5.0

    await store.task_types.measure({TYPE: 0.001})
    assert 1.0 < (await store.task_types.means())[TYPE] < 5.0
