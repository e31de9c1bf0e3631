"""What every broker keeps its word on."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from shared.broker.base import Broker, Delivery, Depth
from shared.broker.memory import MemoryBroker, MemoryQueues
from shared.broker.rabbitmq import RabbitBroker
from shared.broker.topology import DELIVERY_LIMIT
from shared.domain.message import decode
from shared.errors import BrokerUnavailableError
from tests.inbox import Inbox, confirmed, has_depth, message, number_of, subscribed
from tests.listening import until

#: Makes one more end of the same broker, as another process would.
Connect = Callable[[], Broker]

KINDS = ["memory", "quorum", "classic"]
# A quorum queue delivers high first from RabbitMQ 4.0 on: tests/integration asks the broker at hand.
KINDS_WITH_PRIORITY = ["memory", "classic"]
KINDS_WITH_DELIVERY_LIMIT = ["memory", "quorum"]


@pytest.fixture(params=KINDS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    queues = MemoryQueues()
    ends: list[Broker] = []

    def make() -> Broker:
        if request.param == "memory":
            ends.append(MemoryBroker(queues))
        else:
            ends.append(RabbitBroker(request.getfixturevalue("rabbitmq_url"), queue_type=request.param))
        return ends[-1]

    yield make
    for end in ends:
        await end.close()


@pytest.fixture
async def broker(connect: Connect) -> Broker:
    made = connect()
    await made.open()
    return made


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


# Publishing ...


async def test_a_message_arrives_with_its_bundle_and_queue(broker: Broker, inbox: Inbox) -> None:
    sent = message(7, queue="reports")

    await subscribed(broker, inbox.put, queue="reports")

    assert await broker.publish([sent]) == [True]
    (delivery,) = await inbox.has(1)
    assert tuple(decode(delivery.body)) == sent.bundle
    assert (delivery.queue, delivery.reason) == ("reports", "")


async def test_a_message_for_a_queue_that_nobody_knows_waits_there(broker: Broker, inbox: Inbox) -> None:
    assert await broker.publish([message(queue="new"), message(queue="new.too")]) == [True, True]

    await subscribed(broker, inbox.put, queue="new.too")

    assert [delivery.queue for delivery in await inbox.has(1)] == ["new.too"]


async def test_messages_are_delivered_in_the_order_of_their_publishing(broker: Broker, inbox: Inbox) -> None:
    for number in range(1, 6):
        await broker.publish([message(number)])

    await subscribed(broker, inbox.put, prefetch=10)
    await inbox.has(5)

    assert inbox.numbers == [1, 2, 3, 4, 5]


async def test_more_messages_than_fit_in_flight_all_arrive(broker: Broker, inbox: Inbox) -> None:
    await subscribed(broker, inbox.put, prefetch=1000)

    confirmed = await broker.publish([message(number) for number in range(1, 701)])

    assert confirmed == [True] * 700
    await inbox.has(700)
    assert sorted(inbox.numbers) == list(range(1, 701))


async def test_publishing_nothing_confirms_nothing(broker: Broker) -> None:
    assert await broker.publish([]) == []


@pytest.mark.parametrize("connect", KINDS_WITH_PRIORITY, indirect=True)
async def test_high_priority_is_delivered_first(broker: Broker, inbox: Inbox) -> None:
    await broker.publish([message(1), message(2)])
    await broker.publish([message(3, priority="high")])

    await subscribed(broker, inbox.put, prefetch=10)
    await inbox.has(3)

    assert inbox.numbers == [3, 1, 2]


async def test_a_broker_knows_whether_it_delivers_high_priority_first(broker: Broker, inbox: Inbox) -> None:
    await broker.publish([message(1), message(2)])
    await broker.publish([message(3, priority="high")])

    await subscribed(broker, inbox.put, prefetch=10)
    await inbox.has(3)

    assert (inbox.numbers[0] == 3) == await broker.honours_priority()


# Acking ...


async def test_no_more_than_prefetch_is_in_hand(broker: Broker, inbox: Inbox) -> None:
    await broker.publish([message(number) for number in range(1, 6)])

    await subscribed(broker, inbox.put, prefetch=2)
    await inbox.has(2)
    await has_depth(broker, "default", Depth(ready=3, consumers=1))

    assert len(inbox.deliveries) == 2


async def test_an_ack_makes_room_for_the_next(broker: Broker, inbox: Inbox) -> None:
    await broker.publish([message(number) for number in range(1, 4)])
    await subscribed(broker, inbox.put)

    for count in range(1, 4):
        (*_, last) = await inbox.has(count)
        last.ack()

    await has_depth(broker, "default", Depth(ready=0, consumers=1))


async def test_acks_in_any_order_settle_exactly_what_was_acked(connect: Connect, inbox: Inbox) -> None:
    first, second, again = connect(), connect(), Inbox()
    await first.publish([message(number) for number in range(1, 8)])
    await subscribed(first, inbox.put, prefetch=10)
    await inbox.has(7)

    by_number = {number_of(delivery): delivery for delivery in inbox.deliveries}
    for number in (5, 1, 2, 7):
        by_number[number].ack()
    await first.close()

    await subscribed(second, again.put, prefetch=10)
    await again.has(3)
    assert sorted(again.numbers) == [3, 4, 6]


async def test_a_second_verdict_changes_nothing(broker: Broker, inbox: Inbox) -> None:
    dead = Inbox()
    await broker.subscribe_dead(prefetch=1, on_delivery=dead.put)
    await subscribed(broker, inbox.put)
    await broker.publish([message(1), message(2)])

    (first,) = await inbox.has(1)
    first.ack()
    first.ack()
    first.reject()

    assert number_of((await inbox.has(2))[1]) == 2
    assert dead.deliveries == []


async def test_what_was_not_acked_is_delivered_again_when_its_end_closes(connect: Connect, inbox: Inbox) -> None:
    first, second, again = connect(), connect(), Inbox()
    await first.publish([message(1), message(2)])
    await subscribed(first, inbox.put)
    await inbox.has(1)

    await first.close()

    await subscribed(second, again.put, prefetch=2)
    await again.has(2)
    assert sorted(again.numbers) == [1, 2]


async def test_an_ack_after_the_end_of_its_broker_is_harmless(connect: Connect, inbox: Inbox) -> None:
    first, second, again = connect(), connect(), Inbox()
    await subscribed(first, inbox.put)
    await first.publish([message(1)])
    (late,) = await inbox.has(1)
    await first.close()
    await subscribed(second, again.put)
    await again.has(1)

    late.ack()
    late.reject()
    again.ack_all()

    await has_depth(second, "default", Depth(ready=0, consumers=1))


# Subscriptions ...


async def test_a_subscription_says_when_it_consumes(broker: Broker, inbox: Inbox) -> None:
    subscription = await subscribed(broker, inbox.put)
    await until(lambda: subscription.consuming)

    await subscription.close()

    assert not subscription.consuming
    await has_depth(broker, "default", Depth(ready=0, consumers=0))


async def test_a_closed_subscription_takes_no_more(broker: Broker, inbox: Inbox) -> None:
    subscription = await subscribed(broker, inbox.put, prefetch=2)
    await until(lambda: subscription.consuming)
    await subscription.close()

    await broker.publish([message(1)])
    await has_depth(broker, "default", Depth(ready=1, consumers=0))

    assert inbox.deliveries == []


async def test_what_a_closed_subscription_has_in_hand_may_still_be_acked(connect: Connect, inbox: Inbox) -> None:
    first, second, again = connect(), connect(), Inbox()
    subscription = await subscribed(first, inbox.put, prefetch=2)
    await first.publish([message(1)])
    await first.publish([message(2)])
    await inbox.has(2)
    await subscription.close()
    await second.publish([message(3)])
    assert (await second.depth("default")).ready == 1

    inbox.deliveries[1].ack()
    await first.close()

    await subscribed(second, again.put, prefetch=3)
    await again.has(2)
    assert sorted(again.numbers) == [1, 3]


async def test_closing_a_subscription_twice_is_harmless(broker: Broker, inbox: Inbox) -> None:
    subscription = await subscribed(broker, inbox.put)

    await subscription.close()
    await subscription.close()

    assert not subscription.consuming


async def test_two_subscribers_share_a_queue(connect: Connect, inbox: Inbox) -> None:
    first, second, other = connect(), connect(), Inbox()
    await subscribed(first, inbox.put)
    await subscribed(second, other.put)
    await has_depth(first, "default", Depth(ready=0, consumers=2))

    await first.publish([message(1), message(2)])

    await inbox.has(1)
    await other.has(1)
    assert sorted(inbox.numbers + other.numbers) == [1, 2]


async def test_a_callback_that_raises_loses_its_message_to_the_dead_and_nothing_else(
    broker: Broker, inbox: Inbox
) -> None:
    dead = Inbox()

    def put_or_raise(delivery: Delivery) -> None:
        if number_of(delivery) == 1:
            raise ValueError(delivery)
        inbox.put(delivery)

    await broker.subscribe_dead(prefetch=1, on_delivery=dead.put)
    await subscribed(broker, put_or_raise)
    await broker.publish([message(1)])
    await broker.publish([message(2)])

    await inbox.has(1)
    await dead.has(1)
    assert (inbox.numbers, dead.numbers) == ([2], [1])


# Dead letters ...


async def test_rejected_messages_of_all_queues_are_dead_letters(broker: Broker, inbox: Inbox) -> None:
    dead = Inbox()
    for queue in ("default", "reports"):
        await subscribed(broker, lambda delivery: delivery.reject(), queue=queue)
    await broker.publish([message(1), message(2, queue="reports")])

    await broker.subscribe_dead(prefetch=2, on_delivery=dead.put)
    await dead.has(2)

    found = {number_of(letter): (letter.queue, letter.reason) for letter in dead.deliveries}
    assert found == {1: ("default", "rejected"), 2: ("reports", "rejected")}


async def test_a_queue_called_like_the_dead_letters_is_a_queue_like_any_other(broker: Broker, inbox: Inbox) -> None:
    dead = Inbox()
    await broker.subscribe_dead(prefetch=2, on_delivery=dead.put)

    for queue in ("dead", "dead-letters", "taskmill-dead-letters"):
        await subscribed(broker, inbox.put, queue=queue)
        await broker.publish([message(queue=queue)])

    await inbox.has(3)
    assert dead.deliveries == []


async def test_a_dead_letter_is_kept_until_it_is_acked(connect: Connect) -> None:
    first, second, dead, again = connect(), connect(), Inbox(), Inbox()
    await first.subscribe("default", prefetch=2, on_delivery=lambda delivery: delivery.reject())
    await first.publish([message(1)])
    await first.publish([message(2)])
    await first.subscribe_dead(prefetch=2, on_delivery=dead.put)
    await dead.has(2)

    dead.deliveries[0].ack()
    await first.close()

    await second.subscribe_dead(prefetch=2, on_delivery=again.put)
    await again.has(1)
    assert again.numbers == dead.numbers[1:]
    assert (again.deliveries[0].queue, again.deliveries[0].reason) == ("default", "rejected")


async def test_a_dead_letter_that_is_rejected_is_forgotten(broker: Broker) -> None:
    dead = Inbox()
    await subscribed(broker, lambda delivery: delivery.reject())
    await broker.subscribe_dead(prefetch=1, on_delivery=dead.put)

    for number in (1, 2, 3):
        await broker.publish([message(number)])
        (*_, letter) = await dead.has(number)
        letter.reject()

    assert dead.numbers == [1, 2, 3]


@pytest.mark.parametrize("connect", KINDS_WITH_DELIVERY_LIMIT, indirect=True)
async def test_a_message_that_comes_back_too_often_is_a_dead_letter(connect: Connect) -> None:
    await connect().publish([message(1)])

    for _ in range(DELIVERY_LIMIT + 1):
        taker, taken = connect(), Inbox()
        await subscribed(taker, taken.put)
        await taken.has(1)
        await taker.close()

    last, dead = connect(), Inbox()
    await last.subscribe_dead(prefetch=1, on_delivery=dead.put)
    (letter,) = await dead.has(1)
    assert (number_of(letter), letter.queue, letter.reason) == (1, "default", "delivery_limit")
    assert await last.depth("default") == Depth(ready=0, consumers=0)


# Looking ...


async def test_depth_counts_what_is_ready_and_who_consumes(broker: Broker, inbox: Inbox) -> None:
    await broker.publish([message(1), message(2), message(3)])
    await has_depth(broker, "default", Depth(ready=3, consumers=0))

    await subscribed(broker, inbox.put)

    await has_depth(broker, "default", Depth(ready=2, consumers=1))


async def test_a_queue_that_does_not_exist_is_empty(broker: Broker) -> None:
    assert await broker.depth("nowhere") == Depth(ready=0, consumers=0)
    assert await broker.depth("nowhere") == Depth(ready=0, consumers=0)


async def test_an_open_broker_answers(broker: Broker) -> None:
    await broker.ping()


async def test_opening_with_queues_makes_them_and_may_be_repeated(connect: Connect) -> None:
    first, second = connect(), connect()

    await first.open(["default", "reports"])
    await second.open(["default", "reports"])

    assert await second.publish([message(queue="reports")]) == [True]


# The end ...


async def test_a_closed_broker_confirms_nothing_and_does_not_answer(broker: Broker) -> None:
    await broker.close()

    assert await broker.publish([message(1), message(2)]) == [False, False]
    with pytest.raises(BrokerUnavailableError):
        await broker.ping()
    with pytest.raises(BrokerUnavailableError):
        await broker.depth("default")
    with pytest.raises(BrokerUnavailableError):
        await broker.honours_priority()


async def test_a_broker_that_was_never_used_closes(connect: Connect) -> None:
    async with asyncio.timeout(1):
        await connect().close()


# Looking at it ...


async def test_an_inspection_sees_what_waits_and_who_consumes(connect: Connect, broker: Broker, inbox: Inbox) -> None:
    await confirmed(broker, message(1, queue="waiting"))
    subscription = await subscribed(broker, inbox.put, queue="consumed")
    await has_depth(broker, "waiting", Depth(ready=1, consumers=0))

    facts = await broker.inspect(["waiting", "consumed"])
    await subscription.close()

    waiting, consumed = facts.queues
    assert facts.product
    assert facts.takes_messages
    assert (waiting.name, waiting.exists, waiting.consumers) == ("waiting", True, 0)
    assert waiting.ready >= 1
    assert (consumed.name, consumed.consumers, consumed.mismatch) == ("consumed", 1, None)


async def test_a_broker_that_was_closed_is_not_there_to_be_inspected(connect: Connect) -> None:
    made = connect()
    await made.open()
    await made.close()

    if isinstance(made, MemoryBroker):
        with pytest.raises(BrokerUnavailableError):
            await made.inspect([])
    else:
        assert (await made.inspect(["nowhere"])).queues[0].exists is False  # over a connection of its own
