"""What is accepted, once and whole, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

from client.site import Site, json_of, pointers_of, problem_of, require

_BATCH: Final = 100
_PAGE: Final = 30
_REPEATS: Final = 5


def task_runs(site: Site) -> str:
    """Submit, wait, and compare the result with the payload, which has what JSON can hold."""
    payload = {
        "text": "Grüße, 世界 \N{ROCKET}",
        "numbers": [0, -1, 1.5, 2**40],
        "nothing": None,
        "nested": {"yes": True},
    }
    accepted = site.request("POST", "/tasks", expect=202, json=site.submission("demo.echo", payload))
    task_id = site.note(accepted)
    answer = json_of(accepted)
    location = accepted.headers.get("location")
    require(location == f"/tasks/{task_id}", f"Location is {location!r}")
    require(bool(accepted.headers.get("x-request-id")), "the answer has no X-Request-ID")
    require(answer["duplicate"] is False, f"duplicate is {answer['duplicate']}")

    task = site.final(task_id, status="succeeded")
    require(task["result"] == payload, f"the result is {task['result']!r}")
    require(task["attempt"] == 1, f"it took {task['attempt']} attempts")
    require(bool(task["worker"] and task["started_at"] and task["finished_at"]), "worker or times are missing")
    return f"on {task['worker']}"


def busy_task_runs(site: Site) -> str:
    """Processes can be started where the workers live."""
    result = site.final(site.submit("demo.cpu", {"seconds": 0.2}), status="succeeded")["result"]
    require(result == {"seconds": 0.2}, f"the result is {result!r}")
    return ""


def known_answer_is_not_repeated(site: Site) -> str:
    """The ETag of a final task, sent back, is answered 304 without a body."""
    task_id = site.submit("demo.echo")
    site.final(task_id, status="succeeded")
    etag = site.request("GET", f"/tasks/{task_id}", expect=200).headers.get("etag")
    require(bool(etag), "the answer has no ETag")
    again = site.request("GET", f"/tasks/{task_id}", expect=304, headers={"If-None-Match": str(etag)})
    require(not again.content, "the 304 has a body")
    return ""


def wrong_input_is_refused(site: Site) -> str:
    """Problem documents name the fault: an unknown type, a payload, the body itself, an id that nothing has."""
    unknown = problem_of(_refused(site, {"type": f"no.such.type.{site.tag}"}), status=422)
    require("/type" in pointers_of(unknown), f"the pointers are {pointers_of(unknown)} instead of /type")
    require("demo.echo" in str(unknown), f"the known types are not named: {unknown['detail']}")

    payload = problem_of(_refused(site, site.submission("demo.sleep", {"seconds": "many"})), status=422)
    require("/payload/seconds" in pointers_of(payload), f"the pointers are {pointers_of(payload)}")

    problem_of(_refused(site, ["no", "object"]), status=422)
    problem_of(site.ask("GET", f"/tasks/{uuid4()}"), status=404)
    problem_of(site.ask("DELETE", f"/tasks/{uuid4()}"), status=404)
    return ""


def repeats_are_one_task(site: Site) -> str:
    """Repeats at the same moment give one task, a later one finds it, and another body is refused."""
    headers = {"Idempotency-Key": f"{site.tag}-{uuid4().hex}"}
    body = site.submission("demo.echo", {"n": 1})
    with ThreadPoolExecutor(_REPEATS) as pool:
        answers = list(pool.map(lambda _: site.ask("POST", "/tasks", json=body, headers=headers), range(_REPEATS)))
    statuses = sorted(answer.status_code for answer in answers)
    require(statuses == [200] * (_REPEATS - 1) + [202], f"{_REPEATS} repeats at once were answered {statuses}")
    ids = {site.note(answer) for answer in answers}
    require(len(ids) == 1, f"{_REPEATS} repeats made {len(ids)} tasks")

    again = site.request("POST", "/tasks", expect=200, json=body, headers=headers)
    require(json_of(again)["duplicate"] is True, "the repeat is not called a duplicate")
    require({site.note(again)} == ids, "the repeat was answered with another task")
    other = site.ask("POST", "/tasks", json=site.submission("demo.echo", {"n": 2}), headers=headers)
    problem_of(other, status=422)
    site.final(ids.pop(), status="succeeded")
    return ""


def unique_task_exists_once(site: Site) -> str:
    """The second one is answered with the first, until that is final."""
    body = site.submission("demo.echo", {"only": site.tag}, unique=True, delay=3600)
    first = site.note(site.request("POST", "/tasks", expect=202, json=body))
    again = site.request("POST", "/tasks", expect=200, json=body)
    require(json_of(again)["duplicate"] is True, "the second one is not called a duplicate")
    require(site.note(again) == first, "the second one was answered with another task")

    site.request("DELETE", f"/tasks/{first}", expect=200)
    after = site.note(site.request("POST", "/tasks", expect=202, json=body))
    require(after != first, "the key is still taken after its task was cancelled")
    return ""


def batch_runs(site: Site) -> str:
    """All of a batch succeed; a list by its tag shows each once, the newest first, page by page."""
    tag = f"{site.tag}-batch"
    tasks = [{"type": "demo.echo", "payload": n, "tags": [tag]} for n in range(_BATCH)]
    accepted = json_of(site.request("POST", "/tasks/batch", expect=202, json={"tasks": tasks}))["items"]
    ids = [item["task_id"] for item in accepted]
    require(len(set(ids)) == _BATCH, f"{len(set(ids))} ids for {_BATCH} tasks")
    results = [site.final(task_id, status="succeeded")["result"] for task_id in ids]
    require(results == list(range(_BATCH)), "the results are not in the order of the batch")

    listed = list(site.items(f"/tasks?tag={tag}&status=succeeded&type=demo.echo&limit={_PAGE}"))
    require(
        {task["task_id"] for task in listed} == set(ids) and len(listed) == _BATCH,
        f"the list shows {len(listed)} of {_BATCH} tasks",
    )
    moments = [task["created_at"] for task in listed]
    require(moments == sorted(moments, reverse=True), "the list is not sorted by creation, newest first")
    require(not list(site.items(f"/tasks?tag={tag}&status=failed")), "the filter by status shows others too")
    return f"{_BATCH} tasks"


def faulty_batch_is_refused(site: Site) -> str:
    """One fault refuses all: its place is named, and nothing is stored."""
    tag = f"{site.tag}-faulty"
    payloads: list[Any] = [{"seconds": 0}, {"seconds": "many"}, {"seconds": 0}]
    tasks = [{"type": "demo.sleep", "payload": payload, "tags": [tag]} for payload in payloads]
    problem = problem_of(site.ask("POST", "/tasks/batch", json={"tasks": tasks}), status=422)
    require("/tasks/1/payload/seconds" in pointers_of(problem), f"the pointers are {pointers_of(problem)}")
    require(not list(site.items(f"/tasks?tag={tag}")), "tasks of the refused batch were stored")
    return ""


def priority_is_accepted(site: Site) -> str:
    """A task of high priority says so, and runs."""
    task = site.final(site.submit("demo.echo", priority="high"), status="succeeded")
    require(task["priority"] == "high", f"its priority is {task['priority']!r}")
    return ""


def _refused(site: Site, body: Any) -> Any:
    return site.ask("POST", "/tasks", json=body)
