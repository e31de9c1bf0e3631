"""The files of tasks: made, fetched and kept by handlers of every kind."""

import io
import json
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from PIL import Image

from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact, InTask
from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from tests.builders import eventually
from tests.slow_tesseract import SlowTesseract
from tests.workers import Neighbours, Worker, run_worker
from worker_service.registry import import_task_modules

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


async def disappears(folder: Path) -> None:
    async def is_gone() -> bool:
        return not folder.exists()  # noqa: ASYNC240 - the tests' own loop

    await eventually(is_gone)


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
        await disappears(scratch)


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


# What goes wrong ......................................................................


@pytest.mark.parametrize("kind", KINDS)
async def test_an_attempt_that_fails_keeps_what_it_made(neighbours: Neighbours, kind: str) -> None:
    async with run_worker(neighbours) as worker:
        task = await done(worker, kind, make={"trace.log": "x"}, fails=True)

        assert task.status == "failed"
        assert [file["name"] for file in shown(task)] == ["trace.log"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_store_that_is_away_fails_the_attempt_whether_it_was_awaited_or_not(
    module_database_url: str, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_text("")
    neighbours = Neighbours(module_database_url, artifacts=ArtifactStore((tmp_path / "file/x").as_uri()))
    async with run_worker(neighbours) as worker:
        task = await done(worker, kind, make={"report.csv": "x"})

        assert task.status == "failed"
        assert json.loads(task.error or "")["kind"] == "ArtifactsUnavailableError"
        assert shown(task) == []


async def test_the_later_of_two_files_of_one_name_wins_and_the_earlier_is_gone(
    neighbours: Neighbours,
) -> None:
    async with run_worker(neighbours) as worker:
        task = await worker.final(await worker.submit("probe.same_name"))

        assert [(file["name"], file["size"]) for file in shown(task)] == [("report.csv", 3)]
        found = await worker.store.artifacts.find(InTask(task.id, "report.csv"))
        assert await content(neighbours, found) == b"two"
        stored = [entry.key async for page in neighbours.artifacts.stored() for entry in page]
        assert [key for key in stored if str(task.id) in key] == [found.key]


async def test_the_folder_of_a_process_that_was_killed_is_removed(neighbours: Neighbours) -> None:
    async with run_worker(neighbours) as worker:
        task_id = await worker.submit("probe.litters_and_hangs", timeout_s=1.0)
        task = await worker.final(task_id)
        folder = Path(json.loads(task.progress or "")["message"])

        assert json.loads(task.error or "")["kind"] == "timeout"
        await disappears(folder)


# Tesseract ............................................................................


@pytest.mark.parametrize("end", ["cancel", "timeout"])
async def test_no_tesseract_outlives_its_attempt(
    neighbours: Neighbours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    tesseract = SlowTesseract(tmp_path)
    monkeypatch.setenv("PATH", tesseract.path)
    picture = io.BytesIO()
    Image.new("L", (50, 50), 255).save(picture, "PNG")
    upload = Artifact(id=new_task_id(), name="page.png", media_type="image/png", size_bytes=5)
    neighbours.artifacts.save(upload.key, picture.getvalue())
    documents = "worker_service.library.documents"
    import_task_modules([documents])
    async with run_worker(neighbours, modules=[documents]) as worker:
        await worker.store.artifacts.add_upload(upload)
        # The time limit counts from the start of the process, which takes a while to be ready.
        timeout_s = 8.0 if end == "timeout" else 60.0
        task_id = await worker.submit("documents.ocr", json.dumps({"source": upload.href}), timeout_s=timeout_s)

        async def has_begun() -> bool:
            return bool(tesseract.started())

        await eventually(has_begun, within_s=30)
        if end == "cancel":
            await worker.cancel(task_id)
        task = await worker.reaches(task_id, lambda status: status in ("cancelled", "retrying"))

        async def has_ended() -> bool:
            return not tesseract.living()

        await eventually(has_ended)
        assert task.status == ("cancelled" if end == "cancel" else "retrying"), task.error
