"""What the tests on a real database share."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from shared.store.store import Store
from tests.builders import empty, open_store
from tests.servers import Template


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Tracebacks without the values of variables, which take seconds to print where many are logged."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer]
    )


@pytest.fixture(scope="module")
def module_database_url(database_template: Template) -> Iterator[str]:
    """The address of a database with our schema that the tests of a module use in turn."""
    with database_template.copy() as url:
        yield url


@pytest.fixture
async def store(module_database_url: str) -> AsyncIterator[Store]:
    """The store over an empty database: emptied for each test, which is cheaper than a new one."""
    async with open_store(module_database_url) as opened:
        await empty(opened)
        yield opened
