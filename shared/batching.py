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
        self._flushing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Batcher waiting={len(self._waiting)} flushing={self._flushing is not None}>"

    async def submit(self, item: Item) -> Result:
        """The item's own result, or its own error. The work goes on when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Entry(item, future, loop.time()))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_all(), name="batcher")
        return await future

    async def close(self) -> None:
        """Wait until all that was submitted is done."""
        while self._flushing is not None:
            with suppress(Exception):
                await asyncio.shield(self._flushing)

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self._max_items]
                del self._waiting[: self._max_items]
                if self._within_s is None:
                    await self._flush_batch(batch)
                else:
                    await self._flush_within(self._within_s, batch)
        finally:
            self._flushing = None

    async def _flush_within(self, within_s: float, batch: list[_Entry[Item, Result]]) -> None:
        # One timer for all: one for each caller would cost more than most of what is done for it.
        now = asyncio.get_running_loop().time
        flush = asyncio.create_task(self._flush_batch(batch), name="batcher-flush")
        while not flush.done():
            unanswered = [entry.since for entry in (*batch, *self._waiting) if not entry.future.done()]
            await asyncio.wait([flush], timeout=min(unanswered, default=now()) + within_s - now())
            late = now() - within_s
            for entry in (*batch, *self._waiting):
                if entry.since <= late:
                    _settle(entry.future, TimeoutError())
        flush.result()

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
