"""The artifact store: files in a folder or in an S3 bucket, streamed both ways.

What a file is called, whose it is and when it goes stands in PostgreSQL; here are bytes under keys.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.artifacts.places import folder_of, open_place, remove_unfinished, require_artifacts_url
from shared.artifacts.streams import (
    CHUNK_BYTES,
    PART_BYTES,
    Incoming,
    guarded,
    guarded_async,
    nothing,
    translated,
)
from shared.errors import ArtifactsUnavailableError

if TYPE_CHECKING:  # loaded with the first file: many workers never see one
    from obstore.store import LocalStore, S3Store

__all__ = ["ArtifactStore", "StoredObject", "require_artifacts_url"]

#: Parts of one file that are under way at once; each is in memory meanwhile.
_PARTS_AT_ONCE: Final = 2
#: Keys that are looked at or deleted at once.
_KEYS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file as the store lists it."""

    key: str
    modified_at: datetime


class ArtifactStore:
    """Files by their keys. Nothing is opened before the first is asked for; there is nothing to close.

    All but the methods for `def` handlers (`save`, `load`, `discard`) are asynchronous. Each of them raises
    ArtifactsUnavailableError where the folder or the bucket can't be reached or written to.

    Args:
        url: `file:///folder` or `s3://bucket/prefix`; keys and endpoint of S3 come from the usual variables
            (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` …).

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, url: str) -> None:
        require_artifacts_url(url)
        self.url = url
        self._folder = folder_of(url)
        self._opening = threading.Lock()
        self._opened: LocalStore | S3Store | None = None

    def __repr__(self) -> str:
        return f"<ArtifactStore {self.url}>"

    @property
    def folder(self) -> Path | None:
        """Where the files are; None where they are in a bucket."""
        return self._folder

    # For handlers that block ........................................................

    def save(self, key: str, data: bytes | Path) -> int:
        """Store bytes or the content of a file, and return how many bytes that were.

        Raises:
            OSError: The file can't be read.
        """
        if isinstance(data, bytes):
            self._put(key, data)
            return len(data)
        with data.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            self._put(key, file)
        return size_bytes

    def load(self, key: str, target: Path) -> None:
        """Copy a file to `target`.

        Raises:
            ArtifactNotFoundError: There is none of this key.
            OSError: The target can't be written.
        """
        import obstore

        with translated(key, self._folder):
            chunks = iter(obstore.get(self._store(), key).stream(min_chunk_size=CHUNK_BYTES))
        with target.open("wb") as file:
            for chunk in guarded(chunks, key, self._folder):
                file.write(chunk)

    def discard(self, key: str) -> None:
        """Remove a file, if it is there."""
        import obstore

        with translated(None, self._folder), suppress(FileNotFoundError):
            obstore.delete(self._store(), key)

    def _put(self, key: str, data: Any) -> None:
        import obstore

        with translated(None, self._folder):
            obstore.put(self._store(), key, data, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
            self._sync(key)

    # For the event loop .............................................................

    async def receive(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store what comes in, and return how many bytes that were. If it breaks off, nothing is left of it.

        Whatever `chunks` raises comes out as it is.
        """
        import obstore

        incoming = Incoming(chunks)
        store = await asyncio.to_thread(self._store)
        begin = await incoming.next_part()
        try:
            with translated(None, self._folder):
                whole = begin if incoming.ended else incoming.all_from(begin)
                await obstore.put_async(store, key, whole, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
                await asyncio.to_thread(self._sync, key)
        except ArtifactsUnavailableError:
            if incoming.error is not None:
                raise incoming.error from None
            raise
        return incoming.size_bytes

    async def read(self, key: str, *, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop` of a file, piece by piece. Awaiting this opens the file.

        Raises:
            ArtifactNotFoundError: There is none of this key.
        """
        import obstore

        store = await asyncio.to_thread(self._store)
        with translated(key, self._folder):
            if start >= stop:
                await obstore.head_async(store, key)
                return nothing()
            found = await obstore.get_async(store, key, options={"range": (start, stop)})
            chunks = found.stream(min_chunk_size=CHUNK_BYTES // 4)
        return guarded_async(chunks, key, self._folder)

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        import obstore

        wanted = list(keys)
        store = await asyncio.to_thread(self._store)
        with translated(None, self._folder):
            if self._folder is None:
                for begin in range(0, len(wanted), _KEYS_AT_ONCE):
                    await obstore.delete_async(store, wanted[begin : begin + _KEYS_AT_ONCE])
                return
            for key in wanted:
                with suppress(FileNotFoundError):
                    await obstore.delete_async(store, key)

    async def stored(self) -> AsyncIterator[Sequence[StoredObject]]:
        """Every file in the store, some at a time."""
        import obstore

        store = await asyncio.to_thread(self._store)
        pages = obstore.list(store, chunk_size=_KEYS_AT_ONCE)
        while True:
            with translated(None, self._folder):
                page = await anext(pages, None)
            if page is None:
                return
            yield [StoredObject(found["path"], found["last_modified"]) for found in page]

    async def remove_unfinished(self, *, older_than_s: float) -> int:
        """Remove what processes that were killed have left half written, and return how many files that were.

        In a folder alone: of S3 only a lifecycle rule of the bucket removes unfinished uploads.
        """
        if self._folder is None:
            return 0
        return await asyncio.to_thread(remove_unfinished, self._folder, time.time() - older_than_s)

    # Opening ........................................................................

    def _store(self) -> "LocalStore | S3Store":
        with self._opening:
            if self._opened is None or not self._is_there():
                with translated(None, self._folder):
                    self._opened = open_place(self.url, self._folder)
            return self._opened

    def _is_there(self) -> bool:
        # Somebody may have removed the folder, or mounted another.
        return self._folder is None or self._folder.is_dir()

    def _sync(self, key: str) -> None:
        """What PostgreSQL is about to record must outlast a power cut as PostgreSQL does."""
        if self._folder is None:
            return
        path = self._folder / key
        for written in (path, path.parent):
            descriptor = os.open(written, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
