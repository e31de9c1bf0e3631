"""Workers die in the middle of making files."""

import io
from pathlib import Path

import pytest
from PIL import Image

from shared.artifacts import ArtifactStore
from tests.builders import open_store
from tests.faults.stack import Stack
from tests.slow_tesseract import SlowTesseract
from worker_service.orphans import sweep_orphans


@pytest.mark.parametrize("kind", ["trail.file", "trail.file_process"])
async def test_a_file_of_an_attempt_that_died_is_replaced_and_swept(stack: Stack, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    await stack.start(WORKER_PROCESSES="1", TMPDIR=str(folder))
    [victim] = stack.workers
    task_id = await stack.submit(kind, {"seconds": 600, "only_first": True})
    await stack.until(lambda: stack.starts(task_id) == 1, 60, "the file to be written")

    victim.kill()
    await stack.start_worker(WORKER_PROCESSES="1", TMPDIR=str(folder))
    await stack.audit()

    [shown] = (await stack.get(task_id))["artifacts"]
    served = await stack.client.get(f"{stack.url}{shown['href']}")
    assert (shown["name"], served.text) == ("report.txt", "attempt 2")
    artifacts = ArtifactStore(stack.artifacts_url)
    async with open_store(stack.servers.database_url) as store:
        assert await sweep_orphans(artifacts, store, older_than_s=0) == 1
    left = [found.key async for page in artifacts.stored() for found in page]
    assert [key.split("/")[2] for key in left] == ["2"]
    assert (await stack.client.get(f"{stack.url}{shown['href']}")).text == "attempt 2"
    # The second worker has removed the folder of the first, and the attempt's own went with the attempt.
    assert len(list(folder.glob("*taskmill-scratch-*"))) == 1
    await stack.until(lambda: not list(folder.rglob("left.txt")), 30, "the folder of the attempt to be gone")


async def test_no_tesseract_outlives_its_worker(stack: Stack, tmp_path: Path) -> None:
    tesseract = SlowTesseract(tmp_path)
    await stack.start(WORKER_PROCESSES="1", WORKER_QUEUES="documents:1", PATH=tesseract.path)
    [victim] = stack.workers
    picture = io.BytesIO()
    Image.new("L", (50, 50), 255).save(picture, "PNG")
    upload = await stack.client.post(f"{stack.url}/artifacts", content=picture.getvalue())
    task_id = await stack.submit("documents.ocr", {"source": upload.json()["href"]})
    await stack.until(tesseract.living, 60, "Tesseract to run")

    victim.kill()

    await stack.until(lambda: not tesseract.living(), 30, "Tesseract to end with its worker")
    assert (await stack.get(task_id))["status"] == "running"
