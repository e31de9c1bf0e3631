"""The client for programs with an event loop."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar

import httpx

from client import calls, conversations, endpoint
from client.blocking import DEFAULT_TIMEOUT_S
from client.calls import Call, NewTask, files, following, named_after
from client.errors import TaskmillError, error_of
from client.models import Artifact, BatchItem, Event, Page, Task
from client.retrying import Patience, Pause, Retrying, Steps, lost, persist
from client.streaming import SILENCE_S, Watch

P = ParamSpec("P")
T = TypeVar("T")


def _sends(build: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncTaskmill", P], Coroutine[Any, Any, T]]:
    """The method that sends a call and returns what is read of its answer."""

    @named_after(build)
    async def method(self: "AsyncTaskmill", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    return method


def _lists(build: Callable[P, Call[Page[T]]]) -> Callable[Concatenate["AsyncTaskmill", P], AsyncIterator[T]]:
    """The method that asks for page after page and yields what is on them."""

    @named_after(build)
    async def method(self: "AsyncTaskmill", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        call: Call[Page[T]] | None = build(*args, **kwargs)
        while call is not None:
            page = await self.send(call)
            for item in page.items:
                yield item
            call = following(call, page)

    return method


class AsyncTaskmill:
    """A Taskmill, over HTTP. Use it as an async context manager, or close it; tasks of one event loop may share one.

    What is answered 429 or 503, or not at all, is sent again with growing pauses, where that does no harm:
    each submission has an Idempotency-Key of its own, so a repeated one never makes a second task.

    Args:
        url: Where it is; by default what TASKMILL_URL says, or else http://127.0.0.1:8000.
        api_key: By default what TASKMILL_API_KEY says.
        timeout_s: Seconds that connecting, and each pause within an answer, may take.
        retries: How often a request is sent again at most; or a Retrying with its pauses.
        transport: Another way to send requests, for tests and special networks.

    Raises:
        InvalidError: The address or the key can't be one.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: "int | Retrying" = 6,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retrying = retries if isinstance(retries, Retrying) else Retrying(repeats=retries)
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url(url),
            headers=endpoint.headers(api_key),
            transport=transport,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<AsyncTaskmill at {self._http.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._http.base_url)

    async def send(self, call: Call[T]) -> T:
        """What a call comes to; for routes that have no method here."""
        return await self._take(persist(call, self._retrying))

    # Tasks ..........................................................................

    submit = _sends(calls.submit)
    submit_batch = _sends(calls.batch)
    get = _sends(calls.task)
    tasks = _lists(calls.tasks)
    cancel = _sends(calls.cancel)
    retry = _sends(calls.retry)
    explain = _sends(calls.explain)

    async def submit_many(self, new: Iterable[NewTask], *, idempotency_key: str | None = None) -> list[BatchItem]:
        """Hand in any number of tasks, in batches; each batch is accepted whole or not at all."""
        return await self._take(
            conversations.submit_many(new, idempotency_key=idempotency_key, retrying=self._retrying)
        )

    async def wait(self, task_id: str, *, timeout_s: float | None = None) -> Task:
        """The task once it is final, however it ended.

        Raises:
            WaitTimeoutError: It was not within `timeout_s` seconds; the task goes on.
        """
        return await self._take(
            conversations.wait(task_id, timeout_s=timeout_s, retrying=self._retrying, clock=time.monotonic)
        )

    async def result(self, task_id: str, *, timeout_s: float | None = None) -> Any:
        """What the task's handler has returned; waits for it as `wait` does.

        Raises:
            TaskFailedError: It failed, was cancelled, or expired.
        """
        return conversations.require_success(await self.wait(task_id, timeout_s=timeout_s)).result

    # Events .........................................................................

    def watch(self, task_id: str) -> AsyncGenerator[Event, None]:
        """What happens to a task, until it is final; taken up again where the connection broke off."""
        return self._watch(calls.task_events(task_id))

    def watch_all(self, *, queue: str | None = None, type: str | None = None) -> AsyncGenerator[Event, None]:
        """What happens to all tasks from now on, without an end."""
        return self._watch(calls.all_events(queue=queue, type=type))

    # What there is to operate .......................................................

    task_types = _lists(calls.task_types)
    queues = _lists(calls.queues)
    pause_queue = _sends(calls.pause_queue)
    resume_queue = _sends(calls.resume_queue)
    purge_queue = _sends(calls.purge_queue)
    workers = _lists(calls.workers)
    drain_worker = _sends(calls.drain_worker)
    stats = _sends(calls.stats)
    report = _sends(calls.report)
    report_job = _sends(calls.report_job)
    health = _sends(calls.health)
    readiness = _sends(calls.readiness)
    diagnostics = _sends(calls.diagnostics)

    dead_letters = _lists(calls.dead_letters)
    dead_letter = _sends(calls.dead_letter)
    replay = _sends(calls.replay)
    replay_all = _sends(calls.replay_all)
    discard = _sends(calls.discard)

    schedules = _lists(calls.schedules)
    schedule = _sends(calls.schedule)
    create_schedule = _sends(calls.create_schedule)
    put_schedule = _sends(calls.put_schedule)
    delete_schedule = _sends(calls.delete_schedule)
    run_schedule = _sends(calls.run_schedule)
    pause_schedule = _sends(calls.pause_schedule)
    resume_schedule = _sends(calls.resume_schedule)

    api_keys = _lists(calls.api_keys)
    create_key = _sends(calls.create_key)
    revoke_key = _sends(calls.revoke_key)
    audit = _lists(calls.audit)

    # Files ..........................................................................

    async def upload(
        self, source: str | Path | BinaryIO, *, name: str | None = None, media_type: str | None = None
    ) -> Artifact:
        """Upload a file, streamed; payloads name it by its `artifact_id`.

        Args:
            source: The path of a file, or what it can be read from.
            name: What it is called; by default as its path says.
            media_type: By default as its name says.
        """
        with files.reading(source) as (file, own_name):
            call = calls.upload(name or own_name, media_type)
            start = file.tell() if file.seekable() else None

            async def content() -> AsyncIterator[bytes]:
                if start is not None:
                    file.seek(start)
                while chunk := await asyncio.to_thread(file.read, files.CHUNK_BYTES):
                    yield chunk

            # What can't be read twice is sent once.
            return await self._take(
                persist(call, self._retrying if start is not None else Retrying(repeats=0)), content
            )

    async def download(self, artifact_id: str, target: str | Path | BinaryIO) -> int:
        """Store an uploaded file in a file, streamed, and return its size. A path never holds half of it."""
        return await self._download(calls.download(artifact_id), target)

    async def download_of_task(self, task_id: str, name: str, target: str | Path | BinaryIO) -> int:
        """The same for a file that a task has made."""
        return await self._download(calls.download_of_task(task_id, name), target)

    # How it is done .................................................................

    async def _take(self, steps: Steps[T], content: Callable[[], AsyncIterator[bytes]] | None = None) -> T:
        """Take the steps of a conversation and return what it comes to; `content` streams the bodies."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    response = await self._http.send(self._request(step, content))
                except httpx.RequestError as fault:
                    step = steps.throw(fault)
                else:
                    step = steps.send(response)
        except StopIteration as end:
            result: T = end.value
            return result

    def _request(
        self,
        call: Call[Any],
        content: Callable[[], AsyncIterator[bytes]] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Request:
        parts = call.parts() if content is None else {**call.parts(), "content": content()}
        return self._http.build_request(**parts, timeout=timeout_s or self._timeout_s + call.held_s)

    @asynccontextmanager
    async def _opened(self, call: Call[None], timeout_s: float | None = None) -> AsyncIterator[httpx.Response]:
        """An answer whose body is still to come.

        Raises:
            TaskmillError: There is none.
        """
        try:
            request = self._request(call, timeout_s=timeout_s)
            async with aclosing(await self._http.send(request, stream=True)) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_of(response)
                yield response
        except httpx.RequestError as fault:
            raise lost(fault, call) from fault

    async def _watch(self, call: Call[None]) -> AsyncGenerator[Event, None]:
        watch = Watch(call, self._retrying)
        while not watch.is_over:
            try:
                async with self._opened(watch.next_call(), SILENCE_S) as response:
                    async for chunk in response.aiter_bytes():
                        for event in watch.take(chunk):
                            yield event
            except TaskmillError as error:
                watch.closed(error)
            else:
                watch.closed(is_all_told=response.status_code == httpx.codes.NO_CONTENT)
            await asyncio.sleep(watch.pause_s)

    async def _download(self, call: Call[None], target: str | Path | BinaryIO) -> int:
        patience = Patience(self._retrying)
        while True:
            try:
                async with self._opened(call) as response:
                    size = 0
                    with files.writing(target) as file:
                        async for chunk in response.aiter_bytes():
                            size += await asyncio.to_thread(file.write, chunk)
                    return size
            except TaskmillError as error:
                await asyncio.sleep(patience.pause_s(error, is_repeatable=isinstance(target, str | Path)))
