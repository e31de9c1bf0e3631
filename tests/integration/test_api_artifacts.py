"""Files over HTTP: uploads, downloads, ranges, and names that want to go elsewhere."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from api_service.server import Server
from shared.artifacts import ArtifactStore
from shared.domain.artifact import Artifact
from shared.domain.outcome import Outcome
from shared.domain.status import TaskStatus
from shared.ids import new_task_id
from shared.store.finishing import Ending
from tests.api import MAX_ARTIFACT_BYTES, WORKER, ApiUnderTest, open_api, pointers
from tests.builders import eventually, execute, held

DATA = bytes(range(256)) * 40
PATIENCE_S = 20.0


@pytest.fixture
async def api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url) as opened:
        yield opened


async def upload(api: ApiUnderTest, data: bytes = DATA, **headers: str) -> dict[str, Any]:
    answer = await api.client.post(
        "/artifacts", content=data, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def made(api: ApiUnderTest, *names: str, data: bytes = DATA) -> UUID:
    """A task whose first attempt has made files of these names."""
    task_id = await api.submit()
    await api.claim(task_id)
    files = []
    for name in names:
        file = Artifact(
            id=new_task_id(), name=name, media_type="text/csv", size_bytes=len(data), task_id=task_id, attempt=1
        )
        await asyncio.to_thread(api.services.artifacts.save, file.key, data)
        files.append(file)
    outcome = Outcome(TaskStatus.SUCCEEDED, result="null")
    ending = Ending(await held(api.store, task_id), outcome, None, tuple(files))
    finished = await api.store.lifecycle.finish([ending], worker=WORKER)
    await api.services.news.tell(finished.tasks)
    return task_id


def stored_files(store: ArtifactStore) -> list[Path]:
    folder = Path(httpx.URL(store.url).path)
    return [path for path in folder.rglob("*") if path.is_file()]


# Uploads ..............................................................................


async def test_an_upload_comes_back_as_it_was_sent(api: ApiUnderTest) -> None:
    sent = await upload(
        api, Content_Type="text/csv; charset=utf-8", Content_Disposition='attachment; filename="a b.csv"'
    )

    assert sent == {
        "artifact_id": sent["artifact_id"],
        "size": len(DATA),
        "media_type": "text/csv; charset=utf-8",
        "href": f"/artifacts/{sent['artifact_id']}",
    }
    answer = await api.client.get(sent["href"])
    assert answer.content == DATA
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["content-disposition"] == "attachment; filename=\"a b.csv\"; filename*=UTF-8''a%20b.csv"


async def test_a_form_is_refused_with_what_to_send_instead(api: ApiUnderTest) -> None:
    answer = await api.client.post("/artifacts", files={"file": ("sales.csv", b"a,b\n")})

    assert pointers(answer) == ["Content-Type"]
    assert "--data-binary" in answer.json()["detail"]
    assert stored_files(api.services.artifacts) == []


async def test_an_empty_file_is_a_file(api: ApiUnderTest) -> None:
    sent = await upload(api, b"")

    answer = await api.client.get(sent["href"])
    assert (sent["size"], answer.status_code, answer.content) == (0, 200, b"")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_what_a_browser_would_run_is_saved_and_can_do_nothing(api: ApiUnderTest) -> None:
    sent = await upload(api, b"<script>alert(1)</script>", Content_Type="text/html")

    headers = (await api.client.get(sent["href"])).headers
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "declared", ["", "nonsense", "text/html\x80", "text/", "/x", "a/b; c", "x" * 3000, "a/b, c/d"]
)
async def test_a_content_type_that_is_none_becomes_octets(api: ApiUnderTest, declared: str) -> None:
    answer = await api.client.post(
        "/artifacts",
        content=b"x",
        headers={"Content-Type": declared.encode("latin-1")},  # type: ignore[arg-type]
    )

    assert answer.status_code == 201, answer.text
    assert answer.json()["media_type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".profile", "a/b", "a\\\\b", "", "x" * 201])
async def test_a_name_that_leads_somewhere_is_refused_and_nothing_is_kept(api: ApiUnderTest, name: str) -> None:
    answer = await api.client.post(
        "/artifacts", content=b"x", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )

    assert pointers(answer) == ["Content-Disposition"]
    assert stored_files(api.services.artifacts) == []


@pytest.mark.parametrize("declares", [True, False])
async def test_a_file_over_the_limit_is_refused_and_nothing_is_kept(api: ApiUnderTest, declares: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_ARTIFACT_BYTES // 65_536 + 1):
            yield bytes(65_536)

    content: Any = bytes(MAX_ARTIFACT_BYTES + 1) if declares else chunks()
    answer = await api.client.post("/artifacts", content=content)

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"
    assert stored_files(api.services.artifacts) == []


async def test_a_file_at_the_limit_is_taken(api: ApiUnderTest) -> None:
    sent = await upload(api, bytes(MAX_ARTIFACT_BYTES))

    assert sent["size"] == MAX_ARTIFACT_BYTES


async def test_a_store_that_can_t_be_written_to_is_503_and_says_when_to_try_again(
    module_database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    unusable = ArtifactStore((tmp_path / "file" / "folder").as_uri())
    async with open_api(module_database_url) as api:
        object.__setattr__(api.services, "artifacts", unusable)
        answer = await api.client.post("/artifacts", content=DATA)
        lost = Artifact(id=new_task_id(), name=None, media_type="a/b", size_bytes=5)
        await api.store.artifacts.add_upload(lost)
        reading = await api.client.get(lost.href)

    for refused in (answer, reading):
        assert refused.status_code == 503
        assert refused.json()["code"] == "artifacts_unavailable"
        assert refused.headers["retry-after"]
        assert str(tmp_path) not in refused.text


# Over a real connection ...............................................................


@asynccontextmanager
async def served(api: ApiUnderTest) -> AsyncIterator[tuple[str, int]]:
    server = Server(api.app, host="127.0.0.1", port=0)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield "127.0.0.1", int(server.address.rsplit(":", 1)[1])
    finally:
        server.should_exit = True
        await serving


async def test_an_upload_that_is_cut_leaves_nothing(api: ApiUnderTest) -> None:
    recorded = await execute(api.store, "SELECT 1 FROM artifacts")
    async with served(api) as (host, port):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /artifacts HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + bytes(7_000_000))
        await writer.drain()

        async def has_begun() -> bool:
            return bool(stored_files(api.services.artifacts))

        await eventually(has_begun, within_s=PATIENCE_S)
        writer.transport.abort()

        async def is_gone() -> bool:
            return not stored_files(api.services.artifacts)

        await eventually(is_gone, within_s=PATIENCE_S)
    assert await execute(api.store, "SELECT 1 FROM artifacts") == recorded


async def test_a_reader_that_goes_away_harms_nobody(api: ApiUnderTest) -> None:
    sent = await upload(api, os.urandom(8 * 1024 * 1024))
    async with served(api) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {sent['href']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1000)
        writer.transport.abort()

        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
            whole = await client.get(sent["href"])

    assert (whole.status_code, len(whole.content)) == (200, 8 * 1024 * 1024)


# Downloads ............................................................................


@pytest.mark.parametrize(
    "name", ["report.csv", "a b.csv", "täble €.csv", '"quoted".csv', "100%.csv", "a;b.csv", "表.csv"]
)
async def test_a_task_shows_its_files_and_serves_them_by_name(api: ApiUnderTest, name: str) -> None:
    task_id = await made(api, name)

    [shown] = (await api.client.get(f"/tasks/{task_id}")).json()["artifacts"]
    assert shown == {
        "name": name,
        "size": len(DATA),
        "media_type": "text/csv",
        "href": f"/tasks/{task_id}/artifacts/{quote(name, safe='')}",
    }
    answer = await api.client.get(shown["href"])
    assert (answer.status_code, answer.content) == (200, DATA)
    assert quote(name, safe="") in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "header, status, content, content_range",
    [
        ("bytes=0-0", 206, DATA[:1], f"bytes 0-0/{len(DATA)}"),
        ("bytes=100-199", 206, DATA[100:200], f"bytes 100-199/{len(DATA)}"),
        ("bytes=10000-", 206, DATA[10000:], f"bytes 10000-{len(DATA) - 1}/{len(DATA)}"),
        ("bytes=-10", 206, DATA[-10:], f"bytes {len(DATA) - 10}-{len(DATA) - 1}/{len(DATA)}"),
        ("bytes=0-99999999", 206, DATA, f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        ("bytes=1-2,4-5", 200, DATA, None),
        ("nonsense", 200, DATA, None),
        (f"bytes={len(DATA)}-", 416, None, f"bytes */{len(DATA)}"),
        ("bytes=-0", 416, None, f"bytes */{len(DATA)}"),
    ],
)
async def test_a_part_is_served(
    api: ApiUnderTest, header: str, status: int, content: bytes | None, content_range: str | None
) -> None:
    sent = await upload(api)

    answer = await api.client.get(sent["href"], headers={"Range": header})

    assert answer.status_code == status
    assert answer.headers.get("content-range") == content_range
    assert answer.headers["accept-ranges"] == "bytes"
    if content is None:
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))


async def test_a_part_of_what_it_was_before_is_the_whole(api: ApiUnderTest) -> None:
    sent = await upload(api)
    etag = (await api.client.get(sent["href"])).headers["etag"]

    async def status(if_range: str) -> int:
        headers = {"Range": "bytes=0-3", "If-Range": if_range}
        return (await api.client.get(sent["href"], headers=headers)).status_code

    assert [await status(etag), await status('"other"')] == [206, 200]


async def test_head_tells_what_get_would_without_the_bytes(api: ApiUnderTest) -> None:
    sent = await upload(api)

    head = await api.client.head(sent["href"], headers={"Range": "bytes=0-3"})
    get = await api.client.get(sent["href"])

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges", "content-disposition"):
        assert head.headers[name] == get.headers[name]


async def test_who_has_it_already_is_told_so(api: ApiUnderTest) -> None:
    sent = await upload(api)
    etag = (await api.client.get(sent["href"])).headers["etag"]

    answer = await api.client.get(sent["href"], headers={"If-None-Match": f'"x", {etag}'})

    assert (answer.status_code, answer.content) == (304, b"")


async def test_a_record_without_its_file_is_404(api: ApiUnderTest) -> None:
    sent = await upload(api)
    await api.services.artifacts.delete([f"uploads/{sent['artifact_id']}"])

    for method in ("GET", "HEAD"):
        answer = await api.client.request(method, sent["href"])
        assert answer.status_code == 404


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "a%00.csv", "%2Freport.csv", "report.csv%2F", ".%2freport.csv",
     "%5c..%5cx", "report.csv%0a", "x" * 5000, "%ff%fe", "%ED%A0%80", "REPORT.CSV", "%E2%80%AEreport.csv"],
)  # fmt: skip
async def test_no_name_leads_anywhere_else(api: ApiUnderTest, name: str) -> None:
    task_id = await made(api, "report.csv")

    for method in ("GET", "HEAD"):
        answer = await api.client.request(method, f"/tasks/{task_id}/artifacts/{name}")
        assert answer.status_code == 404, answer.text
        if method == "GET":
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "id_", ["x", "..%2fx", "%00", "0" * 32, "0" * 5000, "01990000-0000-7000-8000-000000000000", "%F0%9F%98%80"]
)
async def test_an_unknown_id_is_404(api: ApiUnderTest, id_: str) -> None:
    for path in (f"/artifacts/{id_}", f"/tasks/{id_}/artifacts/report.csv"):
        answer = await api.client.get(path)
        assert answer.status_code == 404, answer.text


async def test_random_bytes_never_break_it(api: ApiUnderTest) -> None:
    random = Random(20_261)
    sent = await upload(api, b"0123456789")
    task_id = await made(api, "report.csv", data=b"0123456789")
    names = ("Range", "If-Range", "If-None-Match", "Content-Type", "Content-Disposition")
    for _ in range(60):
        path = quote(random.randbytes(random.randrange(60)), safe="")
        header = bytes(byte for byte in random.randbytes(random.randrange(60)) if byte not in b"\r\n\0")
        header = random.choice((b"", b"bytes=", b"attachment; filename=", b"a; filename*=UTF-8''")) + header
        headers: Any = dict.fromkeys(names, header)
        for url in (f"/artifacts/{path}", f"/tasks/{task_id}/artifacts/{path}", sent["href"]):
            for method in ("GET", "HEAD"):
                answer = await api.client.request(method, url, headers=headers)
                assert answer.status_code < 500, (path, header, answer.text)
        answer = await api.client.post("/artifacts", content=header, headers=headers)
        assert answer.status_code == 201 or pointers(answer) == ["Content-Disposition"], (header, answer.text)
