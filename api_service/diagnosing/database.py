"""What the facts about PostgreSQL mean."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from api_service.diagnosing.finding import Finding, Level, either, skew
from shared.store.database import SCHEMA_REVISION
from shared.store.diagnostics import MAX_COUNTED, DatabaseFacts

_OLDEST_POSTGRESQL: Final = 150_000
#: Seconds that a doorbell may wait, and a transaction be open.
_OUTBOX_WARN_S: Final = 15.0
_OUTBOX_BAD_S: Final = 120.0
_TRANSACTION_WARN_S: Final = 600.0
_FULL_OF_CONNECTIONS: Final = 0.9
#: Workers keep it above three.
_AHEAD_WARN_DAYS: Final = 1.0
_MUCH_BLOAT: Final = 100_000
#: Transaction numbers run out at 2,147 million; autovacuum steps in at 200 million.
_OLD_TRANSACTIONS_WARN: Final = 500_000_000
_OLD_TRANSACTIONS_BAD: Final = 1_500_000_000

#: What PostgreSQL must not be told, and what that would cost.
_DURABLE: Final[Mapping[str, tuple[str, str]]] = {
    "fsync": ("off", "a power cut can destroy the whole database"),
    "full_page_writes": ("off", "a power cut can leave torn pages"),
    "synchronous_commit": ("off", "a power cut can lose tasks that were answered 202"),
}


def about_database(facts: DatabaseFacts, *, clock: float) -> Iterator[Finding]:
    """PostgreSQL itself. `clock`: this host's, in seconds since 1970, when PostgreSQL told its own."""
    is_old = facts.version_number < _OLDEST_POSTGRESQL
    yield either("postgresql version", not is_old, facts.version, "bad", "upgrade to PostgreSQL 15 or newer")
    yield _schema(facts.revision)
    if facts.is_replica:
        yield Finding(
            "postgresql role", "bad", "it is a replica: nothing can be written", "let DATABASE_URL name the primary"
        )
    yield from _durability(facts.settings)
    yield skew("postgresql clock", facts.now.timestamp() - clock)
    yield from _vacuum(facts)
    if facts.partitions:
        yield _partitions(facts)
    minutes = facts.longest_transaction_s / 60
    yield either(
        "postgresql transactions",
        facts.longest_transaction_s < _TRANSACTION_WARN_S,
        f"the oldest open one is {minutes:.0f} min old",
        "warn",
        "end it: pg_stat_activity names it by xact_start; while it is open, dead rows can't be cleared away",
    )


def about_outbox(facts: DatabaseFacts) -> Finding:
    """Whether doorbells get rung."""
    count = f"{MAX_COUNTED} or more" if facts.outbox >= MAX_COUNTED else str(facts.outbox)
    text = f"{count} due, the oldest for {facts.outbox_oldest_s:.0f} s" if facts.outbox else "nothing is due"
    level: Level = "bad" if facts.outbox_oldest_s > _OUTBOX_BAD_S else "warn"
    return either(
        "outbox",
        not facts.outbox or facts.outbox_oldest_s < _OUTBOX_WARN_S,
        text,
        level,
        "tasks wait to be rung for: look at rabbitmq here, and whether a worker runs, which relays them",
    )


def about_connections(facts: DatabaseFacts, *, pool_size: int, workers: int) -> Iterator[Finding]:
    """Whether PostgreSQL has room for all pools."""
    yield either(
        "postgresql connections",
        facts.connections < facts.max_connections * _FULL_OF_CONNECTIONS,
        f"{facts.connections} of {facts.max_connections} in use, {facts.our_connections} of them Taskmill's",
        "bad",
        "raise max_connections, or lower DATABASE_POOL_SIZE",
    )
    wanted = pool_size + workers * (pool_size + 1)
    yield either(
        "postgresql pools",
        wanted <= facts.max_connections,
        f"this API and {workers} workers may take {wanted} of {facts.max_connections}, if their pools are of the"
        f" size of this one, {pool_size}",
        "warn",
        "raise max_connections, or lower DATABASE_POOL_SIZE: whoever comes last gets no connection",
    )


def _schema(revision: str | None) -> Finding:
    is_enough = revision is not None and revision >= SCHEMA_REVISION
    text = f"at {revision}, {SCHEMA_REVISION} is needed"
    return either("schema", is_enough, text, "bad", "run: taskmill migrate")


def _partitions(facts: DatabaseFacts) -> Finding:
    begin = facts.partitions[-1].begin
    ahead = 0.0 if begin is None else (begin - facts.now) / timedelta(days=1)
    return either(
        "postgresql partitions",
        ahead > _AHEAD_WARN_DAYS,
        f"{len(facts.partitions)}, and the last begins in {ahead:.1f} days",
        "warn",
        "look for partition_postponed in the logs of the workers, which make them: a long statement is in their way;"
        " tasks are accepted all the same, but a partition that lasts too long makes it slower to forget them",
    )


def _durability(settings: Mapping[str, str]) -> Iterator[Finding]:
    risks = [(f"{name} is {value}", cost) for name, (value, cost) in _DURABLE.items() if settings.get(name) == value]
    for text, cost in risks:
        yield Finding("postgresql durability", "bad", f"{text}: {cost}", "switch it on in postgresql.conf; reload")
    if not risks:
        yield Finding("postgresql durability", "ok", "what is committed outlasts a power cut")


def _vacuum(facts: DatabaseFacts) -> Iterator[Finding]:
    runs = facts.settings.get("autovacuum") != "off" and facts.settings.get("track_counts") != "off"
    remedy = "switch autovacuum and track_counts on: tables and indexes only grow without it"
    yield either("postgresql autovacuum", runs, "on" if runs else "off", "bad", remedy)
    bloated = [entry for entry in facts.bloat if entry.dead > max(_MUCH_BLOAT, entry.live)]
    if bloated:
        named = ", ".join(f"{entry.table}: {entry.dead} dead of {entry.live + entry.dead}" for entry in bloated)
        yield Finding(
            "postgresql dead rows",
            "warn",
            named,
            "look for a long transaction or a replication slot that holds autovacuum up; then VACUUM them",
        )
    age = facts.transaction_age
    if age > _OLD_TRANSACTIONS_WARN:
        level: Level = "bad" if age > _OLD_TRANSACTIONS_BAD else "warn"
        yield Finding(
            "postgresql transaction age",
            level,
            f"{age // 1_000_000} million of 2,147 million",
            "VACUUM (FREEZE) the database, and find what holds autovacuum up: at the end nothing can be written",
        )
