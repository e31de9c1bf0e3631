"""What every artifact store does, be it a folder or an S3 bucket."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts import ArtifactStore
from shared.errors import ArtifactNotFoundError, ArtifactsUnavailableError
from tests.servers.s3 import fresh_prefix, running_s3

KEY = "tasks/0198b3c5-0000-7000-8000-000000000001/1/0198b3c5-0000-7000-8000-000000000002"
MIB = 1024 * 1024
#: More than one part of S3, and not a multiple of anything.
LARGE = os.urandom(12 * MIB + 12_345)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return s3_server


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return ArtifactStore((tmp_path / "a folder, ü").as_uri())
    request.getfixturevalue("s3_environment")
    return ArtifactStore(fresh_prefix())


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(store: ArtifactStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    size = len(LARGE) if stop is None else stop
    return b"".join([chunk async for chunk in await store.read(key, start=start, stop=size)])


async def keys_in(store: ArtifactStore) -> list[str]:
    return sorted([found.key async for page in store.stored() for found in page])


# Both ways ............................................................................


@pytest.mark.parametrize("data", [b"", b"x", b"y" * 5 * MIB, LARGE], ids=["empty", "one", "one part", "parts"])
async def test_what_came_in_as_a_stream_goes_out_the_same(store: ArtifactStore, data: bytes) -> None:
    assert await store.receive(KEY, pieces(data)) == len(data)

    assert await read(store, KEY, stop=len(data)) == data


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "one", "parts"])
async def test_bytes_and_files_are_saved_and_loaded(store: ArtifactStore, data: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)

    assert await asyncio.to_thread(store.save, KEY, source) == len(data)
    assert await asyncio.to_thread(store.save, KEY + "2", data) == len(data)

    for key in (KEY, KEY + "2"):
        await asyncio.to_thread(store.load, key, target)
        assert target.read_bytes() == data


async def test_any_part_can_be_read(store: ArtifactStore) -> None:
    await store.receive(KEY, pieces(LARGE))

    assert await read(store, KEY, 0, 1) == LARGE[:1]
    assert await read(store, KEY, 7 * MIB - 3, 9 * MIB + 1) == LARGE[7 * MIB - 3 : 9 * MIB + 1]
    assert await read(store, KEY, len(LARGE) - 5, len(LARGE)) == LARGE[-5:]
    assert await read(store, KEY, 5, 5) == b""


async def test_a_stream_that_breaks_off_leaves_nothing_and_raises_what_it_raised(store: ArtifactStore) -> None:
    class GoneError(OSError):
        pass

    async def breaking(after: int) -> AsyncIterator[bytes]:
        async for piece in pieces(LARGE[:after]):
            yield piece
        raise GoneError

    for after in (0, 1, 11 * MIB):
        with pytest.raises(GoneError):
            await store.receive(KEY, breaking(after))

    assert await keys_in(store) == []
    with pytest.raises(ArtifactNotFoundError):
        await read(store, KEY)


async def test_a_stream_that_is_cancelled_leaves_nothing(store: ArtifactStore) -> None:
    began = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield LARGE
        began.set()
        await asyncio.sleep(3600)

    receiving = asyncio.create_task(store.receive(KEY, endless()))
    await began.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving

    assert await keys_in(store) == []


# What is not there ....................................................................


async def test_what_is_not_there_is_not_found(store: ArtifactStore, tmp_path: Path) -> None:
    await store.receive(KEY, pieces(b"another"))

    for start, stop in ((0, 5), (0, 0)):
        with pytest.raises(ArtifactNotFoundError):
            await store.read(KEY + "2", start=start, stop=stop)
    with pytest.raises(ArtifactNotFoundError):
        store.load(KEY + "2", tmp_path / "target")
    assert not (tmp_path / "target").exists()


async def test_what_is_deleted_is_gone_and_the_rest_is_there(store: ArtifactStore) -> None:
    for number in range(4):
        await store.receive(f"uploads/{number}", pieces(b"x"))

    await store.delete(["uploads/0", "uploads/missing", "uploads/1"])
    store.discard("uploads/2")
    store.discard("uploads/2")
    await store.delete([])

    assert await keys_in(store) == ["uploads/3"]


async def test_everything_is_listed_with_its_age(store: ArtifactStore) -> None:
    expected = sorted([f"tasks/a/{number}/x" for number in range(30)] + ["uploads/y"])
    for key in expected:
        await store.receive(key, pieces(b"x"))

    assert await keys_in(store) == expected
    ages = [found.modified_at async for page in store.stored() for found in page]
    assert all(age.tzinfo is not None for age in ages)


async def test_the_file_to_save_may_be_missing_without_the_store_being_at_fault(
    store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        store.save(KEY, tmp_path / "never written")


# Out of reach .........................................................................


async def refuses_everything(store: ArtifactStore, tmp_path: Path) -> None:
    async def attempts() -> AsyncIterator[Any]:
        yield store.receive(KEY, pieces(b"x"))
        yield store.receive(KEY, pieces(LARGE))
        yield store.delete([KEY])
        yield asyncio.to_thread(store.save, KEY, b"x")
        yield asyncio.to_thread(store.load, KEY, tmp_path / "target")
        yield store.read(KEY, start=0, stop=1)
        yield store.read(KEY, start=0, stop=0)
        yield keys_in(store)

    async for attempt in attempts():
        with pytest.raises(ArtifactsUnavailableError, match="ARTIFACTS_URL"):
            await attempt


async def test_a_folder_that_can_t_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    await refuses_everything(ArtifactStore((tmp_path / "file" / "folder").as_uri()), tmp_path)


async def test_a_server_that_does_not_answer_is_unavailable(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    with pytest.raises(ArtifactsUnavailableError, match="ARTIFACTS_URL"):
        await ArtifactStore(fresh_prefix()).receive(KEY, pieces(b"x"))


async def test_a_bucket_that_does_not_exist_is_unavailable(s3_environment: str, tmp_path: Path) -> None:
    store = ArtifactStore("s3://no-such-bucket")

    for attempt in (store.receive(KEY, pieces(b"x")), store.read(KEY, start=0, stop=1)):
        with pytest.raises(ArtifactsUnavailableError, match="ARTIFACTS_URL"):
            await attempt


async def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    store = ArtifactStore(folder.as_uri())
    await store.receive(KEY, pieces(b"x"))
    await store.delete([KEY])
    folder.rmdir()

    await store.receive(KEY, pieces(b"y"))

    assert (folder / KEY).read_bytes() == b"y"


# The folder ...........................................................................


async def test_half_written_files_of_the_dead_are_removed_when_they_are_old(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path.as_uri())
    await store.receive(KEY, pieces(b"x"))
    left = tmp_path / "uploads" / "0198b3c5#1"
    left.parent.mkdir()
    left.write_bytes(b"half")

    assert await store.remove_unfinished(older_than_s=60) == 0
    os.utime(left, (1, 1))
    assert await store.remove_unfinished(older_than_s=60) == 1

    assert not left.exists()
    assert await keys_in(store) == [KEY]


async def test_a_file_is_for_its_owner_and_no_program(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path.as_uri())
    await store.receive(KEY, pieces(b"#!/bin/sh"))

    assert not stat.S_IMODE((tmp_path / KEY).stat().st_mode) & 0o111


@pytest.mark.parametrize(
    "url",
    ["", "data/artifacts", "/data", "file:data", "file://host/data", "file://data", "s3://", "s3:/bucket",
     "https://bucket/x", "gs://bucket/x", "memory:///", "file:///data?x=1", "s3://bucket/x#y"],
)  # fmt: skip
def test_other_addresses_are_refused_with_what_would_do(url: str) -> None:
    with pytest.raises(ValueError, match=r"file:///folder .* or s3://bucket/prefix"):
        ArtifactStore(url)
