"""Schedules submit tasks at their ticks, until they are deleted."""

import time
from typing import Any

from client.site import Site, problem_of, require


def schedule_runs_each_second(site: Site) -> str:
    """Its ticks come one after the other, each with a task; deleted, it is gone."""
    path = f"/schedules/{site.tag}"
    body = {"name": site.tag, "every": 1, "type": "demo.echo", "payload": {"run": site.tag}}
    created = site.request("POST", "/schedules", expect=201, json=body)
    try:
        require(created.headers.get("location") == path, f"Location is {created.headers.get('location')!r}")
        runs = _runs(site, path, number=2)
        for run in runs:
            task = site.final(run["task_id"], status="succeeded")
            require(task["result"] == {"run": site.tag}, f"the result is {task['result']!r}")
        ticks = [run["tick"] for run in runs]
        require(len(set(ticks)) == len(ticks), f"a tick was run twice: {ticks}")
    finally:
        deleted = site.ask("DELETE", path)
    require(deleted.status_code == 204, f"DELETE {path} answered {deleted.status_code}")
    problem_of(site.ask("GET", path), status=404)
    return f"{len(runs)} runs"


def _runs(site: Site, path: str, *, number: int) -> list[dict[str, Any]]:
    """The runs that made a task, as soon as there are so many."""
    until = time.monotonic() + site.patience_s
    while True:
        schedule = site.get(path)
        runs: list[dict[str, Any]] = [run for run in schedule["last_runs"] if run["task_id"] is not None]
        if len(runs) >= number:
            return runs
        require(time.monotonic() < until, f"it has {len(runs)} runs after {site.patience_s:g} s: {schedule}")
        time.sleep(0.1)
