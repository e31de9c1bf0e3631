"""Real PostgreSQL, RabbitMQ and Redis for the tests, found or started on any machine.

`find.py` tells where they come from; `server.py` tells what may be done to them.
"""

from __future__ import annotations

from tests.servers.faults import FaultServers
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.schema import Template
from tests.servers.server import Server
from tests.servers.trio import Servers

__all__ = ["FaultServers", "Postgres", "RabbitMQ", "Redis", "Server", "Servers", "Template"]
