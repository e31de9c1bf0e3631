"""Every metric, declared once: the unit is in the name, labels are few and never an id."""

from typing import Final

from prometheus_client import Counter, Histogram, disable_created_metrics

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

HTTP_REQUESTS: Final = Counter(
    "taskmill_http_requests", "Requests that were answered; 499: the client went away", ["method", "route", "status"]
)
HTTP_SECONDS: Final = Histogram(
    "taskmill_http_request_seconds",
    "Seconds until a request was answered",
    ["method", "route"],
    buckets=_REQUEST_BUCKETS,
)
TASKS_ACCEPTED: Final = Counter("taskmill_tasks_accepted", "Tasks stored for a 202", ["queue"])
TASKS_DUPLICATE: Final = Counter(
    "taskmill_tasks_duplicate", "Submissions answered with a task that a key already stood for", ["queue"]
)

RESULTS_REFUSED: Final = Counter(
    "taskmill_results_refused", "Outcomes of attempts that were no longer their worker's to finish"
)
DUPLICATES: Final = Counter("taskmill_duplicate_messages", "Messages for attempts that could not be claimed")
DRIFT: Final = Counter("taskmill_drift", "Doorbells rung again because the broker had lost them", ["queue"])
SCHEDULE_RUNS: Final = Counter("taskmill_schedule_runs", "Ticks of schedules that were dealt with", ["outcome"])
