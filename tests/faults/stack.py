"""A whole Taskmill on private servers, a client that remembers what was accepted, and the audit of it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import httpx

from tests.faults.processes import ServiceProcess
from tests.servers import FaultServers
from tests.servers.sandbox import free_port

FINAL: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})

#: Short times, so that the tests are; the ratios are those of the defaults.
QUICK: Final = {
    "WORKER_HEARTBEAT_SECONDS": "0.5",
    "WORKER_STALE_SECONDS": "3",
    "RECONCILE_AFTER_SECONDS": "3",
    "SHUTDOWN_GRACE_SECONDS": "1",
    "TASK_MODULES": "tests.faults.handlers",
    "WORKER_QUEUES": "default:20",
}


class Stack:
    """API and workers as processes, with everything that was accepted on record.

    Args:
        servers: The servers to run on.
        folder: For logs and the trail.
    """

    def __init__(self, servers: FaultServers, folder: Path) -> None:
        self.servers = servers
        self.trail = folder / "trail.jsonl"
        self.workers: list[ServiceProcess] = []
        self.apis: list[ServiceProcess] = []
        self.accepted: list[str] = []
        self._folder = folder
        self._finals: dict[str, str] = {}
        self._ports: list[int] = []
        self.client = httpx.AsyncClient(timeout=90)

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
            **QUICK,
            **changes,
        }

    async def start_api(self, **changes: str) -> ServiceProcess:
        """Start an API and return when it serves."""
        port = free_port()
        api = ServiceProcess(
            "api_service",
            self.environment(API_PORT=str(port), **changes),
            self._folder / f"api-{len(self.apis)}.log",
        )
        self.apis.append(api)
        self._ports.append(port)
        api.start()
        await self.until(lambda: self._serves(port), 30, f"{api!r} to serve")
        return api

    async def start_worker(self, **changes: str) -> ServiceProcess:
        """Start a worker and return when it has announced itself."""
        worker = ServiceProcess(
            "worker_service", self.environment(**changes), self._folder / f"worker-{len(self.workers)}.log"
        )
        self.workers.append(worker)
        worker.start()
        await self.until(lambda: "worker_started" in worker.output(), 30, f"{worker!r} to start")
        return worker

    @property
    def url(self) -> str:
        """The address of the newest API."""
        return f"http://127.0.0.1:{self._ports[-1]}"

    async def _serves(self, port: int) -> bool:
        try:
            return (await self.client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
        except httpx.HTTPError:
            return False

    # Tasks ..........................................................................

    async def submit(self, type_: str, payload: Any = None, **options: Any) -> str:
        """Submit a task that must be accepted."""
        answer = await self.client.post(
            f"{self.url}/tasks", json={"type": type_, "payload": payload or {}, **options}
        )
        assert answer.status_code == 202, answer.text
        return self._remember(answer)

    async def try_submit(self, type_: str, payload: Any = None, **options: Any) -> int | None:
        """Submit a task; the status of the answer, or None where there was none."""
        try:
            answer = await self.client.post(
                f"{self.url}/tasks", json={"type": type_, "payload": payload or {}, **options}
            )
        except httpx.HTTPError:
            return None
        if answer.status_code == 202:
            self._remember(answer)
        return answer.status_code

    async def submit_many(self, count: int, type_: str, payload: Any = None, **options: Any) -> list[str]:
        """Submit a batch that must be accepted."""
        item = {"type": type_, "payload": payload or {}, **options}
        answer = await self.client.post(f"{self.url}/tasks/batch", json={"tasks": [item] * count})
        assert answer.status_code == 202, answer.text
        ids = [entry["task_id"] for entry in answer.json()["items"]]
        self.accepted += ids
        return ids

    def _remember(self, answer: httpx.Response) -> str:
        task_id: str = answer.json()["task_id"]
        self.accepted.append(task_id)
        return task_id

    async def get(self, task_id: str, **query: Any) -> dict[str, Any]:
        """A task as a client sees it. A final status that changes fails the test at once."""
        answer = await self.client.get(f"{self.url}/tasks/{task_id}", params=query)
        assert answer.status_code == 200, answer.text
        task: dict[str, Any] = answer.json()
        if task["status"] in FINAL:
            first = self._finals.setdefault(task_id, task["status"])
            assert task["status"] == first, f"{task_id} was {first} and is {task['status']}"
        return task

    async def until_status(self, task_id: str, *statuses: str, within_s: float = 30) -> dict[str, Any]:
        """Wait until a task has one of the statuses."""
        deadline = time.monotonic() + within_s
        while True:
            task = await self.get(task_id)
            if task["status"] in statuses:
                return task
            assert time.monotonic() < deadline, f"{task} is not {statuses}"
            await asyncio.sleep(0.1)

    async def until(self, is_so: Callable[[], Any], within_s: float, what: str) -> None:
        """Wait until something holds; `is_so` may be a plain or an async function."""
        deadline = time.monotonic() + within_s
        while True:
            held = is_so()
            if await held if asyncio.iscoroutine(held) else held:
                return
            assert time.monotonic() < deadline, f"waited {within_s} s for {what}: {self._tails()}"
            await asyncio.sleep(0.1)

    # The audit ......................................................................

    async def audit(self, *, within_s: float = 60, expect: Mapping[str, int] | None = None) -> dict[str, int]:
        """Every accepted task is final and has stayed what it was; no attempt ran twice at once.

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
        counts = Counter(self._finals[task_id] for task_id in self.accepted)
        assert counts == Counter(expect or {"succeeded": len(self.accepted)})
        self._audit_trail()
        return dict(counts)

    def steps(self) -> list[dict[str, Any]]:
        """The lines of the trail."""
        return [json.loads(line) for line in self.trail.read_text().splitlines()] if self.trail.exists() else []

    def _audit_trail(self) -> None:
        """No attempt of a task was started by two processes."""
        starters: dict[tuple[str, int], set[int]] = {}
        for step in self.steps():
            if step["event"] == "start":
                starters.setdefault((step["task"], step["attempt"]), set()).add(step["pid"])
        doubled = {key: pids for key, pids in starters.items() if len(pids) > 1 and not self.may_repeat_attempts}
        assert not doubled, doubled

    #: Whether attempts may be returned, so that their number comes again on another worker.
    may_repeat_attempts = False

    def _tails(self) -> str:
        processes: Sequence[ServiceProcess] = (*self.workers, *self.apis)
        return "\n".join(f"--- {process!r}\n{process.output()[-3000:]}" for process in processes)
