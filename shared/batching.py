"""Group commit: callers that wait at the same time share one flush."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Entry(NamedTuple, Generic[Item, Result]):
    """An item, what its caller waits for, and since when (on the clock of the event loop)."""

    item: Item
    future: asyncio.Future[Result]
    since: float


class Batcher(Generic[Item, Result]):
    """Merges concurrent calls into one.

    Flushes at once when idle and gathers while a flush is in flight: no timer, no added latency. One bad
    item never fails its neighbours: a batch that fails is tried again item by item, if `splits_on` says so.

    Args:
        flush: Does the work; returns one result (or an exception) for each item, in order.
        max_items: No flush is given more.
        splits_on: Errors that one item may cause for all; others fail the whole batch.
        within_s: Seconds within which a caller is answered, with a TimeoutError if need be; the work goes on.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        max_items: int,
        splits_on: tuple[type[Exception], ...] = (),
        within_s: float | None = None,
    ) -> None:
        self._flush = flush
        self._max_items = max_items
        self._splits_on = splits_on
        self._within_s = within_s
        self._waiting: list[_Entry[Item, Result]] = []
        self._in_flight: list[_Entry[Item, Result]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Batcher waiting={len(self._waiting)} flushing={self._flushing is not None}>"

    async def submit(self, item: Item) -> Result:
        """The item's own result, or its own error. The work goes on when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Entry(item, future, loop.time()))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_all(), name="batcher")
        if self._timer is None and self._within_s is not None:
            self._timer = loop.call_later(self._within_s, self._answer_late, self._within_s)
        return await future

    async def close(self) -> None:
        """Wait until all that was submitted is done."""
        while self._flushing is not None:
            with suppress(Exception):
                await asyncio.shield(self._flushing)

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                self._in_flight = self._waiting[: self._max_items]
                del self._waiting[: self._max_items]
                await self._flush_batch(self._in_flight)
        finally:
            self._in_flight = []
            self._flushing = None

    def _answer_late(self, within_s: float) -> None:
        # One timer for all: one for each caller would cost more than most of what is done for it.
        self._timer, loop = None, asyncio.get_running_loop()
        for entry in (*self._in_flight, *self._waiting):  # in the order in which they came
            if entry.future.done():
                continue
            if entry.since + within_s > loop.time():
                self._timer = loop.call_at(entry.since + within_s, self._answer_late, within_s)
                break
            _settle(entry.future, TimeoutError())

    async def _flush_batch(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            results: Sequence[Result | Exception] = await self._flush([entry.item for entry in batch])
            if len(results) != len(batch):
                raise ValueError(f"the flush of {len(batch)} items gave {len(results)} results")
        except self._splits_on as error:
            if len(batch) == 1:
                results = [error]
            else:
                for entry in batch:
                    await self._flush_batch([entry])
                return
        except Exception as error:  # noqa: BLE001 - each caller gets it
            results = [error] * len(batch)
        for entry, result in zip(batch, results, strict=True):
            _settle(entry.future, result)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
