"""Cancelling."""

from client.site import Site, json_of, problem_of, require


def waiting_task_is_cancelled(site: Site) -> str:
    """It is cancelled at once and only once; a person may let it run after all, but not when it has succeeded."""
    task_id = site.submit("demo.echo", "late", delay=3600)
    answer = json_of(site.request("DELETE", f"/tasks/{task_id}", expect=200))
    require(answer["status"] == "cancelled", f"the answer says {answer}")
    site.final(task_id, status="cancelled")
    problem_of(site.ask("DELETE", f"/tasks/{task_id}"), status=409)

    site.note(site.request("POST", f"/tasks/{task_id}/retry", expect=202))
    task = site.final(task_id, status="succeeded")
    require(task["result"] == "late", f"the result is {task['result']!r}")
    problem_of(site.ask("POST", f"/tasks/{task_id}/retry"), status=409)
    return ""


def running_task_is_cancelled(site: Site) -> str:
    """The wish is noted while it runs, and the handler is stopped long before it would end."""
    task_id = site.submit("demo.sleep", {"seconds": 600}, timeout=700)
    site.until(task_id, lambda task: bool(task["status"] == "running"), what="running")
    answer = json_of(site.request("DELETE", f"/tasks/{task_id}", expect=202))
    require(answer["cancel_requested"] is True, f"the answer says {answer}")
    task = site.final(task_id, status="cancelled")
    require(task["result"] is None, f"the result is {task['result']!r}")
    return ""
