"""Reports from the request to the file, by a real worker with its process pool."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx
import openpyxl
import pytest
from pypdf import PdfReader

from shared.broker.memory import MemoryBroker
from shared.domain.status import is_final
from tests.api import ApiUnderTest, open_api, pointers
from tests.workers import Neighbours, run_worker
from worker_service.library import reports
from worker_service.registry import registry

ROWS: Final = [{"day": f"2026-01-{n:02}", "region": "north", "units": n} for n in range(1, 15)]
BODY: Final[dict[str, Any]] = {"format": "pdf", "title": "Sales 2026", "rows": ROWS}
TYPES: Final = [registry.of(reports.heavy).info, registry.of(reports.dummy).info]
_DEADLINE_S: Final = 60.0


@dataclass
class Site:
    """The API with a worker behind it."""

    api: ApiUnderTest

    async def job(self, body: dict[str, Any], kind: str = "heavy") -> dict[str, Any]:
        """A report, once it is made or has failed."""
        accepted = await self.api.client.post(f"/reports/{kind}", json=body)
        assert accepted.status_code == 202, accepted.text
        return await self.final(accepted.json()["status_url"])

    async def final(self, status_url: str) -> dict[str, Any]:
        return await self.until(status_url, lambda job: is_final(job["status"]))

    async def until(self, status_url: str, is_so: Any) -> dict[str, Any]:
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                job: dict[str, Any] = (await self.api.client.get(status_url)).json()
                if is_so(job):
                    return job
                await asyncio.sleep(0.05)

    async def upload(self, data: bytes) -> str:
        answer = await self.api.client.post("/artifacts", content=data, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["href"])

    async def files(self, job: dict[str, Any]) -> dict[str, httpx.Response]:
        return {file["name"]: await self.api.client.get(file["href"]) for file in job["artifacts"]}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    """The API alone."""
    async with open_api(database_url, types=TYPES) as opened:
        yield opened


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    neighbours = Neighbours(database_url)
    broker = MemoryBroker(neighbours.queues)
    async with open_api(database_url, types=TYPES, broker=broker, cache=neighbours.cache) as api:
        neighbours.artifacts = api.services.artifacts
        async with run_worker(neighbours, queues={"reports": 2}, modules=[reports.__name__]):
            yield Site(api)


# From the request to the file .........................................................


async def test_a_pdf_is_made_and_downloaded(site: Site) -> None:
    job = await site.job(BODY)

    files = await site.files(job)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["result"]["pages"] == 3
    assert job["progress"]["percent"] == 100
    assert list(files) == ["sales-2026.pdf"]
    assert files["sales-2026.pdf"].headers["content-type"] == "application/pdf"
    document = PdfReader(io.BytesIO(files["sales-2026.pdf"].content))
    assert "2026-01-14" in document.pages[-1].extract_text()
    assert "page 3 of 3" in document.pages[-1].extract_text()


async def test_an_excel_file_and_an_analysis_are_made_of_an_uploaded_csv_file(site: Site) -> None:
    source = await site.upload("größe;n\n".encode() + b"".join(b"%d;x\n" % n for n in range(1, 201)))

    excel = await site.job({"format": "excel", "title": "Größen", "source": source})
    analysis = await site.job({"format": "analysis", "title": "Größen", "source": source.rpartition("/")[2]})

    [book] = [openpyxl.load_workbook(io.BytesIO(file.content)) for file in (await site.files(excel)).values()]
    assert book["Data"]["A1"].value == "größe"
    assert [row[0].value for row in book["Data"]["A2:A201"]] == list(range(1, 201))
    files = await site.files(analysis)
    assert files["groen.json"].json()["columns"][0]["mean"] == 100.5
    assert len(PdfReader(io.BytesIO(files["groen.pdf"].content)).pages) == analysis["result"]["pages"]


async def test_a_report_can_be_made_of_the_file_of_another_task(site: Site) -> None:
    dummy = await site.job({"seconds": 0.1, "title": "a,b"}, "dummy")

    job = await site.job({"format": "excel", "title": "again", "source": dummy["artifacts"][0]["href"]})

    assert job["status"] == "succeeded", job
    assert [column["name"] for column in job["result"]["summary"]["columns"]] == ["a", "b"]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"a,b\n1,2\n1,2,3\n", "line 3: has 3 cells, the header has 2"),
        (b"a,b\n\x80,2\n", "line 2: byte 0x80 is not UTF-8"),
        (b"", "the CSV source is empty"),
    ],
    ids=["long row", "no utf-8", "empty"],
)
async def test_a_broken_csv_file_fails_the_report_at_once_and_names_the_line(
    site: Site, data: bytes, message: str
) -> None:
    job = await site.job({"format": "pdf", "title": "x", "source": await site.upload(data)})

    assert (job["status"], job["error"]["kind"]) == ("failed", "permanent")
    assert message in job["error"]["message"]
    assert job["artifacts"] == []


async def test_a_report_that_is_cancelled_in_the_middle_ends_soon_and_leaves_no_file(site: Site) -> None:
    source = await site.upload(b"a,b,c,d\n" + b"".join(b"%d,x,y,z\n" % n for n in range(150_000)))
    accepted = await site.api.client.post("/reports/heavy", json={"format": "pdf", "title": "x", "source": source})
    status_url = accepted.json()["status_url"]
    await site.until(status_url, lambda job: job["progress"] and "drawing pages" in job["progress"]["message"])

    answer = await site.api.client.delete(f"/tasks/{accepted.json()['job_id']}")

    assert answer.status_code == 202
    job = await site.final(status_url)
    assert (job["status"], job["artifacts"]) == ("cancelled", [])
    assert job["progress"]["percent"] < 95


async def test_a_report_that_is_not_ready_at_its_soft_timeout_says_so(site: Site) -> None:
    source = await site.upload(b"a,b,c,d\n" + b"".join(b"%d,x,y,z\n" % n for n in range(150_000)))
    limits = {"soft_timeout": 0.3, "timeout": 60, "max_attempts": 1}
    payload = {"format": "pdf", "title": "x", "source": source}

    task_id = await site.api.submit("reports.heavy", payload=payload, **limits)

    job = await site.final(f"/reports/jobs/{task_id}")
    assert (job["status"], job["error"]["kind"]) == ("failed", "SoftTimeout")
    assert "not ready at its soft timeout" in job["error"]["message"]


# The routes ...........................................................................


async def test_a_report_is_accepted_with_a_place_to_look_for_it(api: ApiUnderTest) -> None:
    answer = await api.client.post("/reports/heavy", json=BODY)

    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == body["status_url"] == f"/reports/jobs/{body['job_id']}"
    assert (body["status"], body["duplicate"]) == ("queued", False)
    job = (await api.client.get(body["status_url"])).json()
    task = (await api.client.get(f"/tasks/{body['job_id']}")).json()
    assert job == {
        "job_id": body["job_id"], "type": "reports.heavy", "status": "queued", "progress": None, "result": None,
        "error": None, "artifacts": [], "created_at": body["created_at"], "started_at": None, "finished_at": None,
    }  # fmt: skip
    assert (task["queue"], task["max_attempts"], task["payload"]) == ("reports", 3, BODY)


async def test_a_request_that_is_repeated_with_its_key_makes_one_report(api: ApiUnderTest) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    first = await api.client.post("/reports/heavy", json=BODY, headers=key)
    second = await api.client.post("/reports/heavy", json=BODY, headers=key)
    changed = await api.client.post("/reports/heavy", json={**BODY, "format": "excel"}, headers=key)

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json() == {**first.json(), "duplicate": True}
    assert pointers(changed) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    "body, places",
    [
        ({}, ["/format", "/title", "/rows"]),
        ({**BODY, "format": "docx"}, ["/format"]),
        ({"format": "pdf", "title": "x"}, ["/rows"]),
        ({**BODY, "rows": []}, ["/rows"]),
        ({**BODY, "source": f"/artifacts/{uuid4()}"}, ["/source"]),
        ({**BODY, "rows": [{"a": [1]}, {"b": {}}]}, ["/rows/0/a", "/rows/1/b"]),
        ({**BODY, "rows": ["a"]}, ["/rows/0"]),
        ({**BODY, "title": ""}, ["/title"]),
        ({**BODY, "colour": "red"}, ["/colour"]),
        ({"format": "pdf", "title": "x", "source": "sales.csv"}, ["/source"]),
    ],
    ids=["nothing", "format", "no rows", "empty rows", "both", "nested", "no objects", "title", "unknown", "source"],
)
async def test_a_fault_is_named_by_its_place_in_the_body_that_was_sent(
    api: ApiUnderTest, body: Any, places: list[str]
) -> None:
    assert sorted(pointers(await api.client.post("/reports/heavy", json=body))) == sorted(places)


async def test_what_is_missing_or_too_much_is_said_in_words(api: ApiUnderTest) -> None:
    neither = await api.client.post("/reports/heavy", json={"format": "pdf", "title": "x"})
    both = await api.client.post("/reports/heavy", json={**BODY, "source": f"/artifacts/{uuid4()}"})

    assert neither.json()["errors"][0]["message"] == "is required, or 'source' in its place"
    assert both.json()["errors"][0]["message"] == "only one of 'rows' and 'source' can be given"


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b'"x"', b"{", b"\xff\x00", b'{"format": NaN}'])
async def test_what_is_no_report_is_refused(api: ApiUnderTest, body: bytes) -> None:
    answer = await api.client.post("/reports/heavy", content=body, headers={"Content-Type": "application/json"})

    assert "" in pointers(answer)


async def test_a_dummy_needs_no_body(api: ApiUnderTest) -> None:
    assert (await api.client.post("/reports/dummy")).status_code == 202
    assert (await api.client.post("/reports/dummy", json={"seconds": 0})).status_code == 202
    assert pointers(await api.client.post("/reports/dummy", json={"seconds": -1})) == ["/seconds"]


async def test_only_reports_are_jobs(api: ApiUnderTest) -> None:
    other = await api.submit("reports.dummy")

    assert (await api.client.get(f"/reports/jobs/{other}")).status_code == 200
    for unknown in (uuid4(), "x", "%00", "../tasks"):
        answer = await api.client.get(f"/reports/jobs/{unknown}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_task_that_is_no_report_is_no_job(database_url: str) -> None:
    async with open_api(database_url) as api:
        task_id = await api.submit("demo.echo")

        answer = await api.client.get(f"/reports/jobs/{task_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_without_a_worker_that_makes_reports_the_client_may_come_back(database_url: str) -> None:
    async with open_api(database_url) as api:
        answer = await api.client.post("/reports/heavy", json=BODY)

    assert (answer.status_code, answer.json()["code"]) == (503, "no_report_worker")
    assert int(answer.headers["retry-after"]) > 0


async def test_swagger_has_a_body_to_try_for_each_format(api: ApiUnderTest) -> None:
    document = (await api.client.get("/openapi.json")).json()

    content = document["paths"]["/reports/heavy"]["post"]["requestBody"]["content"]["application/json"]
    for name in ("pdf", "excel", "analysis"):
        body = content["examples"][name]["value"]
        assert (await api.client.post("/reports/heavy", json=body)).status_code == 202
    described = document["components"]["schemas"]["HeavyReportBody"]["properties"]
    announced = registry.of(reports.heavy).info.payload_schema["properties"]
    assert described.keys() == announced.keys()
    assert json.dumps(described["format"]) == json.dumps(announced["format"])
