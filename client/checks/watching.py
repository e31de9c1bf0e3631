"""What can be seen of a task while it waits and while it runs."""

from datetime import datetime
from typing import Any, Final

from client.site import Site, require

_DELAY_S: Final = 2.0
#: Seconds after its time within which a delayed task must have started where nothing stands in line.
_SOON_S: Final = 10.0


def progress_is_seen(site: Site) -> str:
    """Progress between none and all is seen, and it grows."""
    task_id = site.submit("demo.sleep", {"seconds": 3})
    first = site.until(task_id, _is_under_way, what="seen with progress while it runs")["progress"]
    later = site.until(
        task_id, lambda task: (task["progress"] or first)["done"] > first["done"], what="seen with more progress"
    )["progress"]
    result = site.final(task_id, status="succeeded")["result"]
    require(result == {"seconds": 3}, f"the result is {result!r}")
    return f"{first['percent']:g} %, then {later['percent']:g} %"


def delayed_task_starts_when_due(site: Site) -> str:
    """Not before its time, and soon after."""
    task_id = site.submit("demo.echo", delay=_DELAY_S)
    status = site.task(task_id)["status"]
    require(status == "scheduled", f"right after its submission it is {status}")
    task = site.final(task_id, status="succeeded")
    late_s = _seconds_between(task["run_at"], task["started_at"])
    require(_seconds_between(task["created_at"], task["started_at"]) >= _DELAY_S, "it started too early")
    require(late_s <= _SOON_S, f"it started {late_s:.1f} s after its time")
    return f"{late_s:.2f} s after its time"


def task_is_explained(site: Site) -> str:
    """A scheduled task says so, a running one and a final one too."""
    scheduled = site.submit("demo.echo", delay=3600)
    _require_code(site, scheduled, "scheduled")
    site.request("DELETE", f"/tasks/{scheduled}", expect=200)
    _require_code(site, scheduled, "final")

    running = site.submit("demo.sleep", {"seconds": 2})
    site.until(running, lambda task: bool(task["status"] == "running"), what="running")
    _require_code(site, running, "running")
    return ""


def late_task_expires(site: Site) -> str:
    """A task that is due only after its expiry never starts."""
    task = site.final(site.submit("demo.echo", delay=3600, expires_in=1), status="expired")
    require(task["attempt"] == 0 and task["started_at"] is None, "it was started all the same")
    return f"{_seconds_between(task['expires_at'], task['finished_at']):.2f} s after its time"


def _is_under_way(task: dict[str, Any]) -> bool:
    progress = task["progress"]
    return task["status"] == "running" and progress is not None and 0 < progress["percent"] < 100


def _require_code(site: Site, task_id: str, code: str) -> None:
    explanation = site.get(f"/tasks/{task_id}/explain")
    require(
        explanation["code"] == code, f"a {code} task is explained as {explanation['code']}: {explanation['text']}"
    )


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
