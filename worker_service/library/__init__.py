"""The built-in tasks. Each is also an example of how to write one."""

from typing import Final

#: Modules that every worker imports.
BUILT_IN: Final = (
    "worker_service.library.demo",
    "worker_service.library.reports",
    "worker_service.library.documents",
    "worker_service.library.replaying",
    "worker_service.library.monitoring",
    "worker_service.library.maintenance",
    "worker_service.library.notifications",
    "worker_service.library.webhooks",
)
