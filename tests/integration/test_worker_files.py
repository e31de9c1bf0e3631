"""The files of tasks: made, fetched and kept by handlers of every kind."""

import json
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact
from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from tests.builders import eventually
from tests.workers import Neighbours, Worker, run_worker

KINDS: Final = ("loop", "thread", "process")
TYPES: Final = {
    "loop": "probe.files_on_loop",
    "thread": "probe.files_in_thread",
    "process": "probe.files_in_process",
}


@pytest.fixture
def neighbours(module_database_url: str, tmp_path: Path) -> Neighbours:
    return Neighbours(module_database_url, artifacts=ArtifactStore((tmp_path / "kept").as_uri()))


async def done(worker: Worker, kind: str, **payload: Any) -> TaskRecord:
    return await worker.final(await worker.submit(TYPES[kind], json.dumps(payload)))


def shown(task: TaskRecord) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(task.artifacts or "[]")
    return listed


async def content(neighbours: Neighbours, artifact: Artifact) -> bytes:
    chunks = await neighbours.artifacts.read(artifact.key, start=0, stop=artifact.size_bytes)
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("kind", KINDS)
async def test_files_are_shown_once_the_task_is_done_and_the_folder_is_gone(
    neighbours: Neighbours, kind: str
) -> None:
    async with run_worker(neighbours) as worker:
        task = await done(worker, kind, make={"täble.csv": "a,b\n", "empty": ""})

        assert task.status == "succeeded", task.error
        assert sorted(shown(task), key=lambda file: file["size"]) == [
            {
                "name": "empty", "size": 0, "media_type": "application/octet-stream",
                "href": f"/tasks/{task.id}/artifacts/empty",
            },
            {
                "name": "täble.csv", "size": 4, "media_type": "text/csv",
                "href": f"/tasks/{task.id}/artifacts/t%C3%A4ble.csv",
            },
        ]  # fmt: skip
        scratch = Path(json.loads(task.result or "")["scratch"])

        async def is_gone() -> bool:
            return not scratch.exists()

        await eventually(is_gone)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_of_one_task_is_fetched_by_another(neighbours: Neighbours, kind: str) -> None:
    async with run_worker(neighbours) as worker:
        maker = await done(worker, "loop", make={"a b.txt": "hello"})
        [made] = shown(maker)

        reader = await done(worker, kind, source=made["href"])

        assert reader.status == "succeeded", reader.error
        result = json.loads(reader.result or "")
        assert (result["fetched"], result["fetched_name"]) == ("hello", "a b.txt")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upload_is_fetched_by_its_id(neighbours: Neighbours, kind: str) -> None:
    async with run_worker(neighbours) as worker:
        upload = Artifact(id=new_task_id(), name="ü" * 200, media_type="text/csv", size_bytes=5)
        neighbours.artifacts.save(upload.key, b"hello")
        await worker.store.artifacts.add_upload(upload)

        reader = await done(worker, kind, source=str(upload.id))

        assert reader.status == "succeeded", reader.error
        assert json.loads(reader.result or "")["fetched"] == "hello"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["nothing", "/artifacts/../x", "/tasks/x/artifacts/y", "missing id", "😀"])
async def test_what_is_not_there_is_a_permanent_error_that_names_it(
    neighbours: Neighbours, kind: str, source: str
) -> None:
    source = str(uuid4()) if source == "missing id" else source
    async with run_worker(neighbours) as worker:
        task = await done(worker, kind, source=source)

        assert task.status == "failed"
        failure = json.loads(task.error or "")
        assert failure["kind"] == "permanent"
        assert source in failure["message"]
