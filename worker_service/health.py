"""Whether a worker on this host is well: what a container's health check asks."""

import socket

from shared.errors import DatabaseUnavailableError
from shared.store.database import Database
from shared.store.workers import Workers


async def is_healthy(database_url: str) -> bool:
    """Whether a worker of this host beats and consumes.

    While PostgreSQL is away nobody can tell, and restarting workers would not help: the answer is yes.
    """
    database = Database(database_url, pool_size=1, connect_timeout_s=3, statement_timeout_s=3)
    try:
        workers = await Workers(database).all()
    except DatabaseUnavailableError:
        return True
    finally:
        await database.close()
    host = socket.gethostname()
    return any(worker.host == host and worker.healthy and not worker.stale for worker in workers)
