"""What the facts about RabbitMQ mean."""

from collections.abc import Iterator, Mapping
from typing import Final

from api_service.diagnosing.finding import IN_PROCESS, Finding, either, numbers
from shared.broker.base import BrokerFacts
from shared.broker.topology import DELIVERY_LIMIT

_OLDEST_RABBITMQ: Final = (3, 10)
#: From here on brokers heed the x-consumer-timeout of a quorum queue, and priorities in one.
_CONSUMER_TIMEOUT_BY_QUEUE: Final = (3, 12)
_PRIORITY_IN_QUORUM: Final = (4, 0)


def about_broker(facts: BrokerFacts, consuming: Mapping[str, int]) -> Iterator[Finding]:
    """RabbitMQ. `consuming`: how many live workers take from each queue, by their own word."""
    if facts.product == IN_PROCESS:
        yield Finding("broker", "ok", "in-process: nothing to look after; a restart rings again for what waits")
        return
    version = numbers(facts.version)
    yield either(
        "rabbitmq version", version >= _OLDEST_RABBITMQ, facts.version, "bad", "upgrade to RabbitMQ 3.10 or newer"
    )
    yield either(
        "rabbitmq alarms",
        facts.takes_messages,
        "it takes messages; how near its memory and disk limits are, AMQP does not show"
        if facts.takes_messages
        else "it takes no messages: it is short of memory or disk",
        "bad",
        "rabbitmq-diagnostics alarms names the resource: free disk space, or raise the limit; tasks wait meanwhile",
    )
    yield from _queue_arguments(facts)
    yield _consumer_timeout(facts.queue_type, version)
    if facts.queue_type == "quorum" and version < _PRIORITY_IN_QUORUM:
        yield Finding(
            "rabbitmq priority",
            "warn",
            "quorum queues of this version deliver high priority like any other",
            "upgrade to RabbitMQ 4, or set BROKER_QUEUE_TYPE=classic",
        )
    yield from _consumers(facts, consuming)


def _queue_arguments(facts: BrokerFacts) -> Iterator[Finding]:
    mismatched = [queue for queue in facts.queues if queue.mismatch]
    for queue in mismatched:
        yield Finding(
            "rabbitmq queues", "bad", str(queue.mismatch), "see docs/operating.md, Change the type of the queues"
        )
    if facts.queues and not mismatched:
        limit = f", delivery limit {DELIVERY_LIMIT}" if facts.queue_type == "quorum" else ""
        yield Finding("rabbitmq queues", "ok", f"all {len(facts.queues)} are {facts.queue_type} as declared{limit}")


def _consumer_timeout(queue_type: str, version: tuple[int, ...]) -> Finding:
    if queue_type == "quorum" and version >= _CONSUMER_TIMEOUT_BY_QUEUE:
        return Finding("rabbitmq consumer timeout", "ok", "7 days, by an argument of each queue")
    return Finding(
        "rabbitmq consumer timeout",
        "warn",
        "the broker's own holds, which AMQP does not show; by default it ends consumers whose task takes 30 min",
        "set consumer_timeout in rabbitmq.conf, as deploy/rabbitmq/rabbitmq.conf does",
    )


def _consumers(facts: BrokerFacts, consuming: Mapping[str, int]) -> Iterator[Finding]:
    deaf = [
        f"{queue.name}: {queue.consumers} of {consuming[queue.name]}"
        for queue in facts.queues
        if queue.consumers < consuming.get(queue.name, 0)
    ]
    yield either(
        "rabbitmq consumers",
        not deaf,
        f"fewer than workers say, for {', '.join(deaf)}" if deaf else "as many as workers say",
        "warn",
        "workers mend that within seconds; if it stays so, restart them and look at their log for consumer_lost",
    )
