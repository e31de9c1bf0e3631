"""The artifact store: files in a folder or in an S3 bucket, streamed both ways.

What a file is called, whose it is and when it goes stands in PostgreSQL; here are bytes under keys.
"""

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from shared.errors import ArtifactNotFoundError, ArtifactsUnavailableError

if TYPE_CHECKING:  # loaded with the first file: many workers never see one
    from obstore.store import LocalStore, S3Store

#: Bytes that travel at once.
_CHUNK_BYTES: Final = 1024 * 1024
#: Bytes of a part of a large file. S3 takes none that are smaller.
_PART_BYTES: Final = 5 * 1024 * 1024
#: Parts of one file that are under way at once; each is in memory meanwhile.
_PARTS_AT_ONCE: Final = 2
#: Keys that are looked at or deleted at once.
_KEYS_AT_ONCE: Final = 1_000

# A request may last as long as a slow client takes; one that stands still may not.
_CLIENT: Final = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(days=1),
}
_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


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
        self._folder = _folder_of(url)
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

        with _translated(key, self._folder):
            chunks = iter(obstore.get(self._store(), key).stream(min_chunk_size=_CHUNK_BYTES))
        with target.open("wb") as file:
            for chunk in _guarded(chunks, key, self._folder):
                file.write(chunk)

    def discard(self, key: str) -> None:
        """Remove a file, if it is there."""
        import obstore

        with _translated(None, self._folder), suppress(FileNotFoundError):
            obstore.delete(self._store(), key)

    def _put(self, key: str, data: Any) -> None:
        import obstore

        with _translated(None, self._folder):
            obstore.put(self._store(), key, data, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
            self._sync(key)

    # For the event loop .............................................................

    async def receive(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store what comes in, and return how many bytes that were. If it breaks off, nothing is left of it.

        Whatever `chunks` raises comes out as it is.
        """
        import obstore

        incoming = _Incoming(chunks)
        store = await asyncio.to_thread(self._store)
        begin = await incoming.next_part()
        try:
            with _translated(None, self._folder):
                whole = begin if incoming.ended else incoming.all_from(begin)
                await obstore.put_async(store, key, whole, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
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
        with _translated(key, self._folder):
            if start >= stop:
                await obstore.head_async(store, key)
                return _nothing()
            found = await obstore.get_async(store, key, options={"range": (start, stop)})
            chunks = found.stream(min_chunk_size=_CHUNK_BYTES // 4)
        return _guarded_async(chunks, key, self._folder)

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        import obstore

        wanted = list(keys)
        store = await asyncio.to_thread(self._store)
        with _translated(None, self._folder):
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
            with _translated(None, self._folder):
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
        return await asyncio.to_thread(_remove_unfinished, self._folder, time.time() - older_than_s)

    # Opening ........................................................................

    def _store(self) -> "LocalStore | S3Store":
        with self._opening:
            if self._opened is None or not self._is_there():
                with _translated(None, self._folder):
                    self._opened = _open(self.url, self._folder)
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


def require_artifacts_url(url: str) -> None:
    """Do nothing if artifacts can be kept at an address.

    Raises:
        ValueError: They can't.
    """
    parts = urlsplit(url)
    is_folder = parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/")
    is_bucket = parts.scheme == "s3" and bool(parts.netloc)
    if not (is_folder or is_bucket) or parts.query or parts.fragment:
        raise ValueError("must be file:///folder (three slashes: an absolute path) or s3://bucket/prefix")


def _folder_of(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _open(url: str, folder: Path | None) -> "LocalStore | S3Store":
    from obstore.store import LocalStore, S3Store

    if folder is not None:
        return LocalStore(folder, mkdir=True, automatic_cleanup=True)
    allow_http = _s3_endpoint(os.environ).startswith("http://")
    return S3Store.from_url(url, client_options={**_CLIENT, "allow_http": allow_http}, retry_config=_RETRIES)  # type: ignore[arg-type]


def _s3_endpoint(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def _remove_unfinished(folder: Path, before: float) -> int:
    removed = 0
    for path in folder.rglob("*#*"):
        # The library writes to KEY#NUMBER, and renames it when it is whole.
        with suppress(FileNotFoundError):
            if re.fullmatch(r".*#[0-9]+", path.name) and path.is_file() and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


# Streams ............................................................................


class _Incoming:
    """Bytes from outside in pieces of a good size, and what went wrong with them, if anything did."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size_bytes = 0
        self.ended = False
        self.error: BaseException | None = None

    async def next_part(self, at_least: int = _PART_BYTES) -> bytes:
        """The next bytes: fewer than `at_least` only at the end."""
        part = bytearray()
        while len(part) < at_least:
            try:
                part += await anext(self._chunks)
            except StopAsyncIteration:
                self.ended = True
                break
            except BaseException as error:
                self.error = error
                raise
        self.size_bytes += len(part)
        return bytes(part)

    async def all_from(self, begin: bytes) -> AsyncIterator[bytes]:
        """`begin`, and everything after it."""
        yield begin
        while not self.ended:
            yield await self.next_part(_CHUNK_BYTES)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _guarded(chunks: Iterator[bytes], key: str, folder: Path | None) -> Iterator[bytes]:
    while True:
        with _translated(key, folder):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


async def _guarded_async(chunks: AsyncIterator[bytes], key: str, folder: Path | None) -> AsyncIterator[bytes]:
    while True:
        with _translated(key, folder):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


@contextmanager
def _translated(key: str | None, folder: Path | None) -> Iterator[None]:
    """Errors of the library as ours. A missing file is only that if a key was asked for and the store is there."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        is_there = folder.is_dir() if folder is not None else "NoSuchBucket" not in str(error)
        if key is not None and is_there:
            raise ArtifactNotFoundError(key) from error
        raise ArtifactsUnavailableError(_first_line(error)) from error
    except (BaseError, OSError, ValueError) as error:
        raise ArtifactsUnavailableError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]
