"""What the facts of a deployment are taken to mean."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api_service.diagnosing.broker import about_broker
from api_service.diagnosing.database import about_connections, about_database, about_outbox
from api_service.diagnosing.finding import Finding, away, skew, worst_of
from api_service.diagnosing.stores import ArtifactFacts, about_artifacts, about_cache
from api_service.diagnosing.workers import about_prefetch, about_queues, about_types, about_workers
from shared.broker.base import BrokerFacts, QueueAtBroker
from shared.cache.base import CacheFacts
from shared.domain.partition import Partition
from shared.store.database import SCHEMA_REVISION
from shared.store.diagnostics import Bloat, DatabaseFacts
from shared.store.queues import QueueFigures
from shared.store.workers import WorkerView

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLOCK = NOW.timestamp()

DATABASE = DatabaseFacts(
    version="17.2",
    version_number=170002,
    revision=SCHEMA_REVISION,
    now=NOW,
    is_replica=False,
    settings={"autovacuum": "on", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"},
    max_connections=97,
    connections=20,
    our_connections=15,
    longest_transaction_s=1.0,
    transaction_age=1_000,
    size_bytes=1_000_000,
    bloat=[],
    outbox=0,
    outbox_oldest_s=0.0,
    partitions=[Partition("tasks_leftover", None, NOW), Partition("tasks_ahead", NOW + timedelta(days=4), None)],
    homeless={},
)
RABBITMQ = BrokerFacts(product="RabbitMQ", version="4.1.0", queue_type="quorum")
REDIS = CacheFacts(
    product="Redis", version="7.2.4", role="master", used_bytes=1, max_bytes=2**28, policy="volatile-lru", clock=CLOCK
)
WORKER = WorkerView(
    id="w", host="h", pid=1, version="1", queues={"default": 5}, running=2, since=NOW, heartbeat=NOW,
    healthy=True, stopping=False, draining=False, stale=False,
)  # fmt: skip
QUEUE = QueueFigures(
    name="default", ready=0, running=0, scheduled=0, retrying=0, failed=0, consumers=1, paused=False,
    oldest_queued_seconds=None, paused_at=None,
)  # fmt: skip


def troubles(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """What is not well; and nobody is left without a remedy."""
    found = [finding for finding in findings if finding.level != "ok"]
    assert all(finding.remedy for finding in found)
    return [(finding.check, finding.level) for finding in found]


def test_what_is_well_is_said_to_be() -> None:
    findings = [
        *about_database(DATABASE, clock=CLOCK),
        *about_connections(DATABASE, pool_size=10, workers=4),
        about_outbox(DATABASE),
        *about_broker(RABBITMQ, {}),
        *about_cache(REDIS, clock=CLOCK),
        *about_artifacts(ArtifactFacts(place="file:///x", free_bytes=2**40)),
        *about_workers([WORKER], version="1"),
        *about_prefetch([WORKER]),
        *about_queues([QUEUE]),
        *about_types({}),
    ]

    assert troubles(findings) == []
    assert worst_of(findings) == "ok"


@pytest.mark.parametrize(
    "changes, trouble",
    [
        ({"version_number": 140012}, ("postgresql version", "bad")),
        ({"revision": None}, ("schema", "bad")),
        ({"revision": "0001"}, ("schema", "bad")),
        ({"partitions": [Partition("tasks_ahead", NOW, None)]}, ("postgresql partitions", "warn")),
        ({"is_replica": True}, ("postgresql role", "bad")),
        ({"settings": {"fsync": "off"}}, ("postgresql durability", "bad")),
        ({"settings": {"full_page_writes": "off"}}, ("postgresql durability", "bad")),
        ({"settings": {"synchronous_commit": "off"}}, ("postgresql durability", "bad")),
        ({"settings": {"autovacuum": "off"}}, ("postgresql autovacuum", "bad")),
        ({"longest_transaction_s": 3600.0}, ("postgresql transactions", "warn")),
        ({"transaction_age": 600_000_000}, ("postgresql transaction age", "warn")),
        ({"transaction_age": 1_900_000_000}, ("postgresql transaction age", "bad")),
        ({"bloat": [Bloat(table="tasks", live=10, dead=200_000)]}, ("postgresql dead rows", "warn")),
    ],
)
def test_postgresql_has_its_troubles(changes: dict[str, object], trouble: tuple[str, str]) -> None:
    assert troubles(about_database(replace(DATABASE, **changes), clock=CLOCK)) == [trouble]  # type: ignore[arg-type]


def test_a_newer_schema_is_well() -> None:
    assert troubles(about_database(replace(DATABASE, revision="9999"), clock=CLOCK)) == []


@pytest.mark.parametrize("ahead_s, level", [(0.2, "ok"), (-0.9, "ok"), (2.0, "warn"), (-40.0, "bad")])
def test_clocks_may_differ_a_little(ahead_s: float, level: str) -> None:
    assert skew("clock", ahead_s).level == level


def test_connections_run_out() -> None:
    crowded = replace(DATABASE, connections=90)

    assert troubles(about_connections(crowded, pool_size=10, workers=1)) == [("postgresql connections", "bad")]
    assert troubles(about_connections(DATABASE, pool_size=20, workers=9)) == [("postgresql pools", "warn")]


@pytest.mark.parametrize("oldest_s, level", [(5.0, "ok"), (30.0, "warn"), (600.0, "bad")])
def test_doorbells_that_are_not_rung_are_noticed(oldest_s: float, level: str) -> None:
    assert about_outbox(replace(DATABASE, outbox=7, outbox_oldest_s=oldest_s)).level == level


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"version": "3.9.1"}, {"rabbitmq version", "rabbitmq consumer timeout", "rabbitmq priority"}),
        ({"version": "3.11.5"}, {"rabbitmq consumer timeout", "rabbitmq priority"}),
        ({"version": "3.13.0"}, {"rabbitmq priority"}),
        ({"version": "4.3.0-rc.1"}, set()),
        ({"version": "unknown"}, {"rabbitmq version", "rabbitmq consumer timeout", "rabbitmq priority"}),
        ({"queue_type": "classic"}, {"rabbitmq consumer timeout"}),
        ({"takes_messages": False}, {"rabbitmq alarms"}),
        ({"queues": [QueueAtBroker(name="q", exists=True, mismatch="other")]}, {"rabbitmq queues"}),
    ],
)
def test_rabbitmq_has_its_troubles(changes: dict[str, object], expected: set[str]) -> None:
    found = troubles(about_broker(replace(RABBITMQ, **changes), {}))  # type: ignore[arg-type]

    assert {check for check, _ in found} == expected


def test_workers_that_are_not_heard_by_rabbitmq_are_noticed() -> None:
    facts = replace(RABBITMQ, queues=[QueueAtBroker(name="default", exists=True, consumers=1)])

    assert troubles(about_broker(facts, {"default": 1})) == []
    assert troubles(about_broker(facts, {"default": 2})) == [("rabbitmq consumers", "warn")]


@pytest.mark.parametrize(
    "changes, trouble",
    [
        ({"version": "6.0.9"}, ("redis version", "bad")),
        ({"role": "slave"}, ("redis role", "bad")),
        ({"max_bytes": 0}, ("redis memory", "warn")),
        ({"policy": "noeviction"}, ("redis memory", "warn")),
        ({"clock": CLOCK - 5}, ("redis clock", "warn")),
    ],
)
def test_redis_has_its_troubles(changes: dict[str, object], trouble: tuple[str, str]) -> None:
    assert troubles(about_cache(replace(REDIS, **changes), clock=CLOCK)) == [trouble]  # type: ignore[arg-type]


def test_what_is_in_process_needs_no_looking_after() -> None:
    assert troubles(about_broker(BrokerFacts(product="in-process"), {"default": 3})) == []
    assert troubles(about_cache(CacheFacts(product="in-process"), clock=CLOCK)) == []


@pytest.mark.parametrize("free_bytes, level", [(2**20, "bad"), (2**29, "warn"), (2**40, None), (None, None)])
def test_artifacts_need_room(free_bytes: int | None, level: str | None) -> None:
    found = troubles(about_artifacts(ArtifactFacts(place="x", free_bytes=free_bytes)))

    assert found == ([("artifacts disk", level)] if level else [])


@pytest.mark.parametrize(
    "workers, expected",
    [
        ([], [("workers", "bad")]),
        ([replace(WORKER, stale=True)], [("workers", "bad"), ("workers", "bad")]),
        ([WORKER, replace(WORKER, stale=True)], [("workers", "bad")]),
        ([replace(WORKER, healthy=False)], [("workers", "bad")]),
        ([replace(WORKER, draining=True)], [("workers", "warn")]),
        ([WORKER, replace(WORKER, version="2")], [("versions", "warn")]),
    ],
)
def test_workers_have_their_troubles(workers: list[WorkerView], expected: list[tuple[str, str]]) -> None:
    assert troubles(about_workers(workers, version="1")) == expected


def test_a_worker_that_would_hoard_is_noticed() -> None:
    hoarding = replace(WORKER, queues={"default": 5000})

    assert troubles(about_prefetch([WORKER, hoarding])) == [("prefetch", "warn")]
    assert troubles(about_prefetch([replace(hoarding, stale=True)])) == []


def test_work_that_nobody_does_is_noticed() -> None:
    queues = [replace(QUEUE, ready=3, consumers=0), replace(QUEUE, name="held", paused=True)]

    assert troubles(about_queues(queues)) == [("queues", "bad"), ("queues", "warn")]
    assert troubles(about_types({"old.type": 3})) == [("types", "bad")]


def test_one_bad_finding_makes_the_whole_bad() -> None:
    warned = Finding("x", "warn", "y", "z")

    assert worst_of([warned]) == "warn"
    assert worst_of([warned, away("x", "gone", "start it")]) == "bad"
