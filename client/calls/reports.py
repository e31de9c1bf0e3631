"""Reports, by the routes that an application of its own might have."""

from typing import Any

from client.calls.call import Call, as_model, fresh_key, get, path, send
from client.models import ReportAccepted, ReportJob


def report(kind: str, **fields: Any) -> Call[ReportAccepted]:
    """Have a report made: `heavy` (with `format`, `title`, `rows` or `source`) or `dummy`."""
    return send(
        "POST", path("reports", kind), as_model(ReportAccepted), fields, headers=fresh_key(), is_repeatable=True
    )


def report_job(job_id: str) -> Call[ReportJob]:
    """How far a report is, and its files once it is made."""
    return get(path("reports", "jobs", job_id), as_model(ReportJob))
