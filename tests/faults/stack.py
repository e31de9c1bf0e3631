"""A whole Taskmill on private servers, a client that remembers what was accepted, and the audit of it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import httpx

from tests.faults.processes import ServiceProcess
from tests.servers import FaultServers
from tests.servers.sandbox import free_port

FINAL: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})

#: Seconds until a silent worker is given up.
STALE_S: Final = 4.0
#: Short times, so that the tests are; the ratios are those of the defaults.
QUICK: Final = {
    "WORKER_HEARTBEAT_SECONDS": "0.5",
    "WORKER_STALE_SECONDS": str(STALE_S),
    "RECONCILE_AFTER_SECONDS": "2",
    "SHUTDOWN_GRACE_SECONDS": "1",
    "TASK_MODULES": "tests.faults.handlers",
    "WORKER_QUEUES": "default:20",
    "BUILT_IN_SCHEDULES": "off",
}
#: Seconds that a process may take to start, on a machine that has much else to do.
_START_DEADLINE_S: Final = 60.0


class Stack:
    """API and workers as processes, with everything that was accepted on record.

    Args:
        servers: The servers to run on.
        folder: For logs and the trail.

    Attributes:
        accepted: The ids of all tasks that were answered with 202.
        returns_attempts: Whether attempts may be returned, so that their number comes again on another worker.
    """

    def __init__(self, servers: FaultServers, folder: Path) -> None:
        self.servers = servers
        self.trail = folder / "trail.jsonl"
        self.workers: list[ServiceProcess] = []
        self.apis: list[ServiceProcess] = []
        self.accepted: list[str] = []
        self.returns_attempts = False
        self.artifacts_url = (folder / "artifacts").as_uri()
        self._folder = folder
        self._finals: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._urls: dict[ServiceProcess, str] = {}
        self._turn = count()
        self.client = httpx.AsyncClient(timeout=90, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        for process in (*self.workers, *self.apis):
            process.close()

    # Processes ......................................................................

    def environment(self, **changes: str) -> dict[str, str]:
        """The settings of a service on these servers."""
        return {
            "DATABASE_URL": self.servers.database_url,
            "RABBITMQ_URL": self.servers.rabbitmq_url,
            "REDIS_URL": self.servers.redis_url,
            "TRAIL": str(self.trail),
            "ARTIFACTS_URL": self.artifacts_url,
            **QUICK,
            **changes,
        }

    async def start(self, *, apis: int = 1, workers: int = 1, **changes: str) -> None:
        """Start some of each, side by side, and return when all of them serve."""
        await asyncio.gather(
            *(self.start_api(**changes) for _ in range(apis)), *(self.start_worker(**changes) for _ in range(workers))
        )

    async def start_api(self, **changes: str) -> ServiceProcess:
        """Start an API and return when it serves."""
        port = free_port()
        api = ServiceProcess(
            "api_service",
            self.environment(API_PORT=str(port), **changes),
            self._folder / f"api-{len(self.apis)}.log",
        )
        self.apis.append(api)
        api.start()
        url = f"http://127.0.0.1:{port}"
        await self.until(lambda: self._serves(url), _START_DEADLINE_S, f"{api!r} to serve")
        self._urls[api] = url
        return api

    async def start_worker(self, **changes: str) -> ServiceProcess:
        """Start a worker and return when it has announced itself."""
        worker = ServiceProcess(
            "worker_service", self.environment(**changes), self._folder / f"worker-{len(self.workers)}.log"
        )
        self.workers.append(worker)
        worker.start()
        await self.until(lambda: "worker_started" in worker.output(), _START_DEADLINE_S, f"{worker!r} to start")
        return worker

    @property
    def url(self) -> str:
        """The address of an API that lives, of each in turn; where none does, one at which nothing answers."""
        living = [url for api, url in self._urls.items() if api.pid is not None] or list(self._urls.values())
        return living[next(self._turn) % len(living)]

    def url_of(self, api: ServiceProcess) -> str:
        """The address of one API."""
        return self._urls[api]

    async def _serves(self, url: str) -> bool:
        try:
            return (await self.client.get(f"{url}/health")).status_code == 200
        except httpx.HTTPError:
            return False

    # Tasks ..........................................................................

    async def submit(self, type_: str, payload: Any = None, **options: Any) -> str:
        """Submit a task that must be accepted."""
        answer = await self.post(type_, payload, **options)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    async def submit_many(self, number: int, type_: str, payload: Any = None, **options: Any) -> list[str]:
        """Submit a batch that must be accepted."""
        item = {"type": type_, "payload": payload or {}, **options}
        answer = await self.client.post(f"{self.url}/tasks/batch", json={"tasks": [item] * number})
        assert answer.status_code == 202, answer.text
        ids = [entry["task_id"] for entry in answer.json()["items"]]
        self.accepted += ids
        return ids

    async def post(
        self, type_: str, payload: Any = None, *, key: str | None = None, **options: Any
    ) -> httpx.Response:
        """Submit a task, and remember it if it was accepted.

        Raises:
            httpx.HTTPError: There was no answer.
        """
        answer = await self.client.post(
            f"{self.url}/tasks",
            json={"type": type_, "payload": payload or {}, **options},
            headers={} if key is None else {"Idempotency-Key": key},
        )
        if answer.status_code == 202:
            self.accepted.append(answer.json()["task_id"])
        return answer

    async def get(self, task_id: str, **query: Any) -> dict[str, Any]:
        """A task as a client sees it that asks again when it is told to."""
        deadline = time.monotonic() + 60
        while True:
            answer = await self.read(task_id, **query)
            if answer.status_code == 200:
                task: dict[str, Any] = answer.json()
                return task
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < deadline, answer.text
            await asyncio.sleep(0.1)

    async def read(self, task_id: str, **query: Any) -> httpx.Response:
        """The answer about a task. One that is older than what was known when it was asked for fails the test.

        Raises:
            httpx.HTTPError: There was no answer.
        """
        # What other requests are told while this one is under way proves nothing about its answer.
        known, final = self._versions.get(task_id, 0), self._finals.get(task_id)
        answer = await self.client.get(f"{self.url}/tasks/{task_id}", params=query)
        if answer.status_code != 200:
            return answer
        version, status = int(answer.headers["etag"].strip('"')), answer.json()["status"]
        assert version >= known, f"{task_id} was at version {known} and went back to {version}, {status}"
        self._versions[task_id] = max(version, self._versions.get(task_id, 0))
        assert final in (None, status), f"{task_id} was {final} and is {status}"
        if status in FINAL:
            self._finals[task_id] = status
        return answer

    async def until_status(self, task_id: str, *statuses: str, within_s: float = 60) -> dict[str, Any]:
        """Wait until a task has one of the statuses."""
        deadline = time.monotonic() + within_s
        while True:
            task = await self.get(task_id)
            if task["status"] in statuses:
                return task
            assert time.monotonic() < deadline, f"{task} is not {statuses} {self._tails()}"
            await asyncio.sleep(0.1)

    async def until_all(self, task_ids: Sequence[str], *statuses: str) -> list[dict[str, Any]]:
        """Wait until each of the tasks has one of the statuses."""
        return [await self.until_status(task_id, *statuses) for task_id in task_ids]

    async def until(self, is_so: Callable[[], Any], within_s: float, what: str) -> None:
        """Wait until something holds; `is_so` may be a plain or an async function."""
        deadline = time.monotonic() + within_s
        while True:
            held = is_so()
            if await held if asyncio.iscoroutine(held) else held:
                return
            assert time.monotonic() < deadline, f"waited {within_s} s for {what}: {self._tails()}"
            await asyncio.sleep(0.1)

    async def attempts(self, task_ids: Sequence[str]) -> Counter[int]:
        """How many of the tasks are at which attempt."""
        return Counter([(await self.get(task_id))["attempt"] for task_id in task_ids])

    async def fetch(self, query: str) -> Any:
        """One value from PostgreSQL, as an operator would ask for it."""
        connection = await asyncpg.connect(self.servers.database_url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def until_rung(self) -> None:
        """Wait until the broker has confirmed every doorbell."""

        async def is_rung() -> bool:
            return bool(await self.fetch("SELECT NOT EXISTS (SELECT FROM outbox)"))

        await self.until(is_rung, 60, "the outbox to be empty")

    async def retry(self, task_id: str) -> None:
        """Have a final task run again; what it was no longer counts."""
        answer = await self.client.post(f"{self.url}/tasks/{task_id}/retry")
        assert answer.status_code == 202, answer.text
        del self._finals[task_id]

    # The audit ......................................................................

    async def audit(self, *, within_s: float = 90, expect: Mapping[str, int] | None = None) -> dict[str, int]:
        """Every accepted task is final and has stayed what it was; no attempt ran twice; no doorbell is left.

        Args:
            within_s: How long the last may take to become final.
            expect: How many tasks must have ended in each status; None for all succeeded.

        Returns:
            How many tasks ended in each status.
        """
        deadline = time.monotonic() + within_s
        waiting = list(dict.fromkeys(self.accepted))
        while waiting:
            tasks = await asyncio.gather(*(self.get(task_id) for task_id in waiting[:50]))
            unfinished = [task for task in tasks if task["status"] not in FINAL]
            waiting = [task["task_id"] for task in unfinished] + waiting[50:]
            if unfinished:
                assert time.monotonic() < deadline, f"lost: {unfinished[:3]} {self._tails()}"
                await asyncio.sleep(0.1)
        counts = Counter(self._finals[task_id] for task_id in dict.fromkeys(self.accepted))
        assert counts == Counter(expect or {"succeeded": counts.total()})
        await self.until_rung()
        self.audit_trail()
        return dict(counts)

    def steps(self) -> list[dict[str, Any]]:
        """The lines of the trail."""
        return [json.loads(line) for line in self.trail.read_text().splitlines()] if self.trail.exists() else []

    def starts(self, task_id: str) -> int:
        """How often a task was started."""
        return sum(step["task"] == task_id and step["event"] == "start" for step in self.steps())

    def audit_trail(self) -> None:
        """No attempt was started twice; where attempts may be returned, none has ended twice."""
        event = "end" if self.returns_attempts else "start"
        times = Counter((step["task"], step["attempt"]) for step in self.steps() if step["event"] == event)
        doubled = {attempt: number for attempt, number in times.items() if number > 1}
        assert not doubled, f"{doubled} {self._tails()}"

    def _tails(self) -> str:
        processes: Sequence[ServiceProcess] = (*self.workers, *self.apis)
        return "\n".join(f"--- {process!r}\n{process.output()[-3000:]}" for process in processes)
