"""Which cancellations are meant for us."""

import asyncio

import pytest

from shared.broker.rabbitmq_errors import translated_errors
from shared.errors import BrokerUnavailableError, TopologyMismatchError


async def test_a_cancellation_that_nobody_asked_for_is_a_fault_of_the_broker() -> None:
    with pytest.raises(BrokerUnavailableError, match="closed meanwhile"), translated_errors():
        raise asyncio.CancelledError


async def test_a_cancellation_that_was_asked_for_cancels() -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        with translated_errors():
            entered.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await entered.wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_time_limit_around_it_still_counts() -> None:
    async def wait() -> None:
        with translated_errors():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.01)


async def test_a_fault_of_the_library_tells_what_the_system_said() -> None:
    with pytest.raises(BrokerUnavailableError, match="network is unreachable") as raised, translated_errors():
        raise RuntimeError("no") from OSError("network is unreachable")

    assert isinstance(raised.value.__cause__, RuntimeError)


async def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(TopologyMismatchError), translated_errors():
        raise TopologyMismatchError("taskmill.default", "another type")
