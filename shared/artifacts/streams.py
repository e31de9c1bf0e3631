"""Streams from and to the store, and its errors as ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import ArtifactNotFoundError, ArtifactsUnavailableError

#: Bytes that travel at once.
CHUNK_BYTES: Final = 1024 * 1024
#: Bytes of a part of a large file. S3 takes none that are smaller.
PART_BYTES: Final = 5 * 1024 * 1024


class Incoming:
    """Bytes from outside in pieces of a good size, and what went wrong with them, if anything did."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size_bytes = 0
        self.ended = False
        self.error: BaseException | None = None

    async def next_part(self, at_least: int = PART_BYTES) -> bytes:
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
            yield await self.next_part(CHUNK_BYTES)


async def nothing() -> AsyncIterator[bytes]:
    """A stream that has ended."""
    return
    yield b""


def guarded(chunks: Iterator[bytes], key: str, folder: Path | None) -> Iterator[bytes]:
    """The same stream, with errors of ours."""
    while True:
        with translated(key, folder):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


async def guarded_async(chunks: AsyncIterator[bytes], key: str, folder: Path | None) -> AsyncIterator[bytes]:
    """The same stream, with errors of ours."""
    while True:
        with translated(key, folder):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


@contextmanager
def translated(key: str | None, folder: Path | None) -> Iterator[None]:
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
