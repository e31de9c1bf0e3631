"""The HTTP face of Taskmill."""

import shared  # noqa: F401 - before anybody else imports structlog
