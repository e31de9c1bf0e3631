"""`GET /diagnostics` on real servers: well, half well, and away."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from api_service.diagnosing.diagnose import diagnose, gather_facts
from shared.broker.rabbitmq import RabbitBroker
from shared.cache.redis import RedisCache
from shared.store.database import Database
from shared.store.statement import text
from shared.store.store import Store
from tests.api import ECHO, ApiUnderTest, open_api
from tests.servers.sandbox import free_port


class Unopened(RabbitBroker):
    """A broker of an API that goes on though it could not open it, as the real one does."""

    async def open(self, queues: Sequence[str] = ()) -> None:
        pass


async def diagnosis(api: ApiUnderTest) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    answer = await api.client.get("/diagnostics", timeout=30)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    worst = {finding["level"] for finding in document["findings"]}
    assert document["status"] == next(level for level in ("bad", "warn", "ok") if level in worst)
    return {finding["check"]: finding for finding in document["findings"]}, document["facts"]


async def test_real_servers_are_looked_at(database_url: str, rabbitmq_url: str, redis_url: str) -> None:
    broker, cache = RabbitBroker(rabbitmq_url), RedisCache(redis_url)
    async with open_api(database_url, broker=broker, cache=cache) as api:
        await api.announce_worker()
        await broker.open(["default"])
        await api.submit()
        findings, facts = await diagnosis(api)
    await broker.close()
    await cache.close()

    for check in ("postgresql version", "schema", "postgresql clock", "rabbitmq version", "rabbitmq alarms",
                  "rabbitmq queues", "redis version", "redis clock", "artifacts", "workers"):  # fmt: skip
        assert findings[check]["level"] == "ok", findings[check]
    # The servers of these tests are started to be fast.
    assert findings["postgresql durability"]["level"] in ("ok", "bad")
    assert facts["versions"]["broker"].startswith("RabbitMQ ")
    assert {queue["name"] for queue in facts["broker"]["queues"]} >= {"default"}


async def test_settings_that_lose_tasks_are_found(database_url: str) -> None:
    database = Database(database_url)
    async with database.read() as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit TO off'))
    await database.close()

    async with open_api(database_url) as api:
        findings, _ = await diagnosis(api)

    assert findings["postgresql durability"]["level"] == "bad"
    assert findings["postgresql durability"]["remedy"]


async def test_a_queue_of_another_kind_is_found(database_url: str, rabbitmq_url: str) -> None:
    other = RabbitBroker(rabbitmq_url, queue_type="classic")
    await other.open(["default"])
    await other.close()
    broker = Unopened(rabbitmq_url, queue_type="quorum")
    async with open_api(database_url, broker=broker) as api:
        await api.submit()
        findings, _ = await diagnosis(api)
    await broker.close()

    assert findings["rabbitmq queues"]["level"] == "bad"
    assert "other arguments" in findings["rabbitmq queues"]["text"]


async def test_whoever_is_away_is_a_finding(database_url: str) -> None:
    broker = Unopened(f"amqp://guest:secret@127.0.0.1:{free_port()}/")
    cache = RedisCache(f"redis://:secret@127.0.0.1:{free_port()}/0")
    async with open_api(database_url, broker=broker, cache=cache) as api:
        findings, facts = await diagnosis(api)
    await broker.close()
    await cache.close()

    assert findings["rabbitmq"]["level"] == findings["redis"]["level"] == "bad"
    assert "start it" in findings["rabbitmq"]["remedy"]
    assert facts["cache"]["away"]
    assert "secret" not in str((findings, facts))


async def test_a_database_that_is_away_is_a_finding(database_url: str) -> None:
    database = Database(f"postgresql://taskmill:secret@127.0.0.1:{free_port()}/taskmill")
    async with open_api(database_url) as api:
        facts = await gather_facts(replace(api.services, store=Store(database)))
    await database.close()

    findings = {finding.check: finding for finding in diagnose(facts)}
    assert findings["postgresql"].level == "bad"
    assert findings["artifacts"].level == "ok"
    assert "workers" not in findings
    assert "secret" not in str(facts.document())


async def test_work_that_nobody_can_do_is_found(database_url: str) -> None:
    async with open_api(database_url) as api:
        await api.announce_worker(queues={"numbers": 1}, types=["demo.sum"])
        await api.submit(ECHO.name)
        findings, _ = await diagnosis(api)

    assert "demo.echo" in findings["types"]["text"]
    assert findings["queues"]["level"] == "bad"
