"""The files of one attempt, with a store whose pace the test decides."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts import ArtifactStore
from shared.errors import ArtifactNotFoundError, ArtifactsUnavailableError, TaskmillError
from shared.ids import new_task_id
from worker_service import Permanent
from worker_service.files import AttemptFiles


class Paced(ArtifactStore):
    """Stores what begins with `slow` only after everything else, and what begins with `bad` never."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.as_uri())
        self.others_are_stored = threading.Event()

    def save(self, key: str, data: bytes | Path) -> int:
        assert isinstance(data, bytes)
        if data.startswith(b"bad"):
            raise ArtifactsUnavailableError("full")
        if data.startswith(b"slow"):
            assert self.others_are_stored.wait(30)
        size_bytes = super().save(key, data)
        if not data.startswith(b"slow"):
            self.others_are_stored.set()
        return size_bytes


def not_there(source: str) -> Any:
    raise ArtifactNotFoundError(source)


def files_on(store: ArtifactStore, tmp_path: Path, loop: asyncio.AbstractEventLoop | None = None) -> AttemptFiles:
    return AttemptFiles(
        store, task_id=new_task_id(), attempt=1, scratch=tmp_path / "scratch", find=not_there, loop=loop
    )


async def test_the_later_of_one_name_wins_though_it_is_stored_first(tmp_path: Path) -> None:
    store = Paced(tmp_path / "kept")
    files = files_on(store, tmp_path, asyncio.get_running_loop())

    files.keep("report.csv", b"slow one", None)
    files.keep("report.csv", b"two", None)
    assert await files.settled() is None

    [kept] = files.made
    assert kept.size_bytes == len(b"two")
    assert [found.key async for page in store.stored() for found in page] == [kept.key]


async def test_what_is_awaited_is_there_and_what_fails_is_told_once(tmp_path: Path) -> None:
    files = files_on(Paced(tmp_path / "kept"), tmp_path, asyncio.get_running_loop())

    await files.keep("good", b"x", None)
    with pytest.raises(ArtifactsUnavailableError):
        await files.keep("bad", b"bad", None)
    assert await files.settled() is None

    files.keep("bad", b"bad", None)
    assert isinstance(await files.settled(), ArtifactsUnavailableError)
    assert [file.name for file in files.made] == ["good"]


async def test_what_is_kept_is_what_it_was_when_it_was_kept(tmp_path: Path) -> None:
    store = Paced(tmp_path / "kept")
    files = files_on(store, tmp_path, asyncio.get_running_loop())
    changing = bytearray(b"slow before")

    files.keep("report.csv", changing, None)
    changing[:] = b"after that, and longer"
    store.others_are_stored.set()
    await files.settled()

    assert files.made[0].size_bytes == len(b"slow before")


async def test_fetching_on_the_loop_itself_is_refused_with_what_to_do(tmp_path: Path) -> None:
    files = files_on(Paced(tmp_path / "kept"), tmp_path, asyncio.get_running_loop())

    with pytest.raises(TaskmillError, match=r"await ctx\.fetch"):
        files.fetch("anything")


def test_an_attempt_can_make_so_many_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_service.files._MAX_ARTIFACTS", 2)
    files = files_on(Paced(tmp_path / "kept"), tmp_path)

    for name in ("a", "b", "a"):
        files.keep(name, b"x", None)

    with pytest.raises(Permanent, match="2 artifacts at most"):
        files.keep("c", b"x", None)


@pytest.mark.parametrize("media_type", ["nonsense", "text/html\nX-Evil: 1", "", "a/b; c", "ü/x"])
def test_what_is_no_media_type_is_refused(tmp_path: Path, media_type: str) -> None:
    with pytest.raises(Permanent, match="media type"):
        files_on(Paced(tmp_path / "kept"), tmp_path).keep("a", b"x", media_type)


def test_the_folder_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    files = files_on(Paced(tmp_path / "kept"), tmp_path)
    assert not (tmp_path / "scratch").exists()

    assert files.scratch == files.scratch == tmp_path / "scratch"

    assert files.used_scratch
    assert files.scratch.is_dir()
