"""A worker dies while it makes a report."""

import io
from pathlib import Path

from pypdf import PdfReader

from tests.faults.stack import Stack


async def test_a_report_whose_worker_was_killed_in_the_middle_is_made_by_the_next_attempt(
    stack: Stack, tmp_path: Path
) -> None:
    kept = tmp_path / "artifacts"
    settings = {"ARTIFACTS_URL": kept.as_uri(), "WORKER_QUEUES": "reports:1", "WORKER_PROCESSES": "1"}
    await stack.start_api(**settings)
    await stack.start_worker(**settings)
    csv = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n) for n in range(1, 30_001))
    uploaded = await stack.client.post(f"{stack.url}/artifacts", content=csv, headers={"Content-Type": "text/csv"})
    payload = {"format": "pdf", "title": "Names", "source": uploaded.json()["href"]}

    task_id = await stack.submit("reports.heavy", payload)
    await stack.until(lambda: _draws(stack, task_id), 60, "it to draw pages")
    stack.workers[0].kill()
    await stack.start_worker(**settings)
    await stack.audit()

    job = (await stack.client.get(f"{stack.url}/reports/jobs/{task_id}")).json()
    [file] = job["artifacts"]
    document = PdfReader(io.BytesIO((await stack.client.get(stack.url + file["href"])).content))
    assert (await stack.get(task_id))["attempt"] == 2
    assert len(document.pages) == job["result"]["pages"]
    assert "name 30000" in document.pages[-1].extract_text()


async def _draws(stack: Stack, task_id: str) -> bool:
    progress = (await stack.get(task_id))["progress"]
    return progress is not None and "drawing pages" in progress["message"]
