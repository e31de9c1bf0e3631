"""What operators do. Nothing here touches a queue that anybody else uses."""

from typing import Any, Final

from client.site import Site, json_of, require

#: A queue that no worker takes from; it stays in the list of queues, so its name is always the same.
_QUEUE: Final = "verify"


def queue_is_paused_and_resumed(site: Site) -> str:
    """A task of a paused queue waits, and says why."""
    paused = _control(site, "POST", f"/queues/{_QUEUE}/pause")
    require(paused["paused"] is True, f"the paused queue is {paused}")
    task_id = site.submit("demo.echo", queue=_QUEUE)
    explanation = site.get(f"/tasks/{task_id}/explain")
    require(explanation["code"] == "queue_paused", f"its task is explained as {explanation['code']}")
    resumed = _control(site, "POST", f"/queues/{_QUEUE}/resume")
    require(resumed["paused"] is False, f"the resumed queue is {resumed}")
    site.request("DELETE", f"/tasks/{task_id}", expect=200)
    return ""


def queue_is_purged(site: Site) -> str:
    """What waits is cancelled."""
    ids = [site.submit("demo.echo", queue=_QUEUE), site.submit("demo.echo", queue=_QUEUE, delay=3600)]
    purged = _control(site, "DELETE", f"/queues/{_QUEUE}/purge")["purged"]
    for task_id in ids:
        site.final(task_id, status="cancelled")
    return f"{purged} tasks"


def dead_letters_are_replayed_by_filter(site: Site) -> str:
    """A task of Taskmill's own does it; there is nothing to replay in that queue, so it is soon done."""
    answer = site.request("POST", "/dead-letters/replay", expect=202, json={"queue": _QUEUE})
    result = site.final(site.note(answer), status="succeeded")["result"]
    require(result["replayed"] == json_of(answer)["matching"] == 0, f"the result is {result}")
    return ""


def _control(site: Site, method: str, path: str) -> dict[str, Any]:
    document: dict[str, Any] = json_of(site.request(method, path, expect=200))
    return document
