"""The records of files: written with the end of their attempt, gone with their task, swept if nobody wrote them."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact, InTask, artifact_key
from shared.domain.outcome import Outcome
from shared.errors import ArtifactNotFoundError
from shared.ids import first_id_at, new_task_id
from shared.store.finishing import Ending, Finished
from shared.store.store import Store
from tests.builders import (
    FAILED,
    RETRYING,
    RETURNED,
    SUCCEEDED,
    claim,
    empty,
    execute,
    held,
    pass_time,
    queued,
    running,
)  # fmt: skip
from worker_service.loops.retention import Retention
from worker_service.orphans import sweep_orphans

#: The id of a task that was accepted before anything here is kept.
LONG_AGO: Final = first_id_at(datetime.now(UTC) - timedelta(days=9))


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "kept").as_uri())


@pytest.fixture(autouse=True)
async def _empty(store: Store) -> None:
    await empty(store)


def written(artifacts: ArtifactStore, task_id: UUID, name: str = "report.csv", attempt: int = 1) -> Artifact:
    """A file as an attempt leaves it in the store."""
    artifact = Artifact(
        id=new_task_id(), name=name, media_type="text/csv", size_bytes=5, task_id=task_id, attempt=attempt
    )
    artifacts.save(artifact.key, b"hello")
    return artifact


async def uploaded(store: Store, artifacts: ArtifactStore) -> Artifact:
    upload = Artifact(id=new_task_id(), name=None, media_type="text/csv", size_bytes=5)
    artifacts.save(upload.key, b"hello")
    await store.artifacts.add_upload(upload)
    return upload


async def end(
    store: Store, task_id: UUID, outcome: Outcome, *files: Artifact, attempt: int = 1, worker: str = "a"
) -> Finished:
    ending = Ending(await held(store, task_id, attempt), outcome, None, files)
    return await store.lifecycle.finish([ending], worker=worker)


async def run_again(store: Store, task_id: UUID, attempt: int) -> None:
    await pass_time(store, 3600)
    await store.lifecycle.release(10)
    assert await claim(store, task_id, attempt=attempt)


async def shown(store: Store, task_id: UUID) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((await store.tasks.get(task_id)).artifacts or "[]")
    return listed


async def keys_in(artifacts: ArtifactStore) -> set[str]:
    return {found.key async for page in artifacts.stored() for found in page}


def made_earlier(artifacts: ArtifactStore, seconds: float) -> None:
    """Let everything in the store have been written so much earlier."""
    moment = (datetime.now(UTC) - timedelta(seconds=seconds)).timestamp()
    for path in Path(artifacts.url.removeprefix("file://")).rglob("*"):
        os.utime(path, (moment, moment))


# Written with the end of the attempt ..................................................


async def test_files_are_recorded_by_the_statement_that_ends_the_attempt(
    store: Store, artifacts: ArtifactStore
) -> None:
    task_id = await running(store)
    file = written(artifacts, task_id)

    await end(store, task_id, SUCCEEDED, file)

    assert await shown(store, task_id) == [
        {"name": "report.csv", "size": 5, "media_type": "text/csv", "href": f"/tasks/{task_id}/artifacts/report.csv"}
    ]
    found = await store.artifacts.find(InTask(task_id, "report.csv"))
    assert (found.key, found.size_bytes) == (file.key, 5)
    assert (await store.artifacts.find(file.id)).key == file.key


async def test_a_result_that_the_fence_refuses_records_no_file(store: Store, artifacts: ArtifactStore) -> None:
    task_id = await running(store, worker="a")
    mine, stale = written(artifacts, task_id), written(artifacts, task_id)

    refused = await end(store, task_id, SUCCEEDED, stale, worker="another")
    await end(store, task_id, SUCCEEDED, mine)
    late = await end(store, task_id, SUCCEEDED, stale, worker="another")

    assert refused.refused == late.refused == [task_id]
    assert (await store.artifacts.find(InTask(task_id, "report.csv"))).id == mine.id
    with pytest.raises(ArtifactNotFoundError):
        await store.artifacts.find(stale.id)


async def test_repeating_the_end_of_an_attempt_records_its_files_once(store: Store, artifacts: ArtifactStore) -> None:
    task_id = await running(store)
    file = written(artifacts, task_id)

    await end(store, task_id, SUCCEEDED, file)
    again = await end(store, task_id, SUCCEEDED, file)

    assert not again.refused
    assert len(await execute(store, "SELECT 1 FROM artifacts")) == 1


async def test_a_failed_attempt_shows_its_files_until_the_next_one_has_ended(
    store: Store, artifacts: ArtifactStore
) -> None:
    task_id = await running(store)
    await end(store, task_id, RETRYING, written(artifacts, task_id, "trace.log"), written(artifacts, task_id, "both"))
    assert [file["name"] for file in await shown(store, task_id)] == ["trace.log", "both"]

    await run_again(store, task_id, 2)
    assert len(await shown(store, task_id)) == 2
    second = written(artifacts, task_id, "both", attempt=2)
    await end(store, task_id, SUCCEEDED, second, attempt=2)

    assert [file["name"] for file in await shown(store, task_id)] == ["both"]
    assert (await store.artifacts.find(InTask(task_id, "both"))).id == second.id
    with pytest.raises(ArtifactNotFoundError):
        await store.artifacts.find(InTask(task_id, "trace.log"))


async def test_an_attempt_without_files_leaves_none_of_an_earlier_one(store: Store, artifacts: ArtifactStore) -> None:
    task_id = await running(store)
    await end(store, task_id, RETRYING, written(artifacts, task_id))
    await run_again(store, task_id, 2)

    await end(store, task_id, FAILED, attempt=2)

    assert await shown(store, task_id) == []
    assert await execute(store, "SELECT 1 FROM artifacts") == []


async def test_an_attempt_that_is_given_back_records_no_file(store: Store, artifacts: ArtifactStore) -> None:
    task_id = await running(store)

    await end(store, task_id, RETURNED, written(artifacts, task_id))

    assert await shown(store, task_id) == []
    assert await execute(store, "SELECT 1 FROM artifacts") == []


# Gone with their task .................................................................


async def test_the_files_of_forgotten_tasks_and_old_uploads_go(store: Store, artifacts: ArtifactStore) -> None:
    old, young = await running(store, id=LONG_AGO), await running(store)
    await end(store, old, SUCCEEDED, written(artifacts, old), written(artifacts, old, "second"))
    old_upload = await uploaded(store, artifacts)
    await pass_time(store, 8 * 86_400)
    await execute(store, "UPDATE artifacts SET created_at = created_at - interval '8 days'")
    await end(store, young, SUCCEEDED, kept := written(artifacts, young))
    new_upload = await uploaded(store, artifacts)

    assert await Retention(store, artifacts, days=7).run_once() == 1

    assert await keys_in(artifacts) == {kept.key, new_upload.key}
    for gone in (old_upload.id, InTask(old, "second")):
        with pytest.raises(ArtifactNotFoundError):
            await store.artifacts.find(gone)


async def test_a_store_that_is_away_does_not_keep_tasks_from_being_forgotten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    task_id = await running(store, id=LONG_AGO)
    gone = Artifact(id=new_task_id(), name="x", media_type="a/b", size_bytes=1, task_id=task_id, attempt=1)
    await end(store, task_id, SUCCEEDED, gone)
    await pass_time(store, 8 * 86_400)

    assert await Retention(store, ArtifactStore((tmp_path / "file/x").as_uri()), days=7).run_once() == 1


# Swept ................................................................................


async def test_the_sweep_takes_what_nobody_will_ask_for_and_nothing_else(
    store: Store, artifacts: ArtifactStore
) -> None:
    done, at_work, waiting = await running(store), await running(store), await queued(store)
    recorded, lost = written(artifacts, done), written(artifacts, done)
    await end(store, done, SUCCEEDED, recorded)
    in_use, of_another_attempt = written(artifacts, at_work), written(artifacts, at_work, attempt=2)
    stale, without_task = written(artifacts, waiting), written(artifacts, new_task_id())
    upload = await uploaded(store, artifacts)
    unrecorded = artifact_key(new_task_id(), None, None)
    for key in (unrecorded, "uploads/not-an-id", "somebody/elses.file"):
        artifacts.save(key, b"hello")
    made_earlier(artifacts, 7200)
    fresh = written(artifacts, new_task_id())

    orphans = {lost.key, of_another_attempt.key, stale.key, without_task.key, unrecorded}
    before = await keys_in(artifacts)
    assert await sweep_orphans(artifacts, store) == len(orphans)

    assert before - await keys_in(artifacts) == orphans
    assert {recorded.key, in_use.key, upload.key, fresh.key, "somebody/elses.file"} <= await keys_in(artifacts)
    assert await sweep_orphans(artifacts, store) == 0


async def test_two_sweeps_at_once_harm_nothing(store: Store, artifacts: ArtifactStore) -> None:
    for _ in range(20):
        written(artifacts, new_task_id())
    kept = await uploaded(store, artifacts)
    made_earlier(artifacts, 7200)

    await asyncio.gather(*(sweep_orphans(artifacts, store) for _ in range(3)))

    assert await keys_in(artifacts) == {kept.key}
