"""The real servers, as fixtures: started when the first test asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator

import hypothesis
import pytest

from tests.servers import FaultServers, Postgres, RabbitMQ, Redis, Server, Servers, Template
from tests.servers.errors import NoServerError
from tests.servers.schema import unique_name

# What is started as soon as a test needs any server, in this order: the slowest first.
NEEDS: dict[str, type[Server]] = {"rabbitmq_url": RabbitMQ, "database_url": Postgres, "redis_url": Redis}

# An example that takes 200 ms is no fault where four tests share two cores.
hypothesis.settings.register_profile("taskmill", deadline=None)
hypothesis.settings.load_profile("taskmill")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Where there is no server to be had, one sentence says so, and the run ends."""
    try:
        return (yield)
    except NoServerError as error:
        sentence = str(error)
    if hasattr(item.config, "workerinput"):  # pytest-xdist takes the exit of a worker for a crash
        pytest.fail(sentence, pytrace=False)
    pytest.exit(sentence, returncode=1)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line where a person sees it, though pytest captures output."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def print_uncaptured(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", file=sys.stderr, flush=True)

    return print_uncaptured


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Servers]:
    """PostgreSQL, RabbitMQ and Redis, shared by all ordinary tests: leave them running."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    soon = [kind for name, kind in NEEDS.items() if name in wanted]
    with Servers(durable=False, private=False, say=say, soon=soon) as found:
        yield found


@pytest.fixture(scope="session")
def database_template(servers: Servers) -> Iterator[Template]:
    """A database with our schema, to copy."""
    template = Template(servers.postgres)
    yield template
    template.drop()


@pytest.fixture
def database_url(database_template: Template) -> Iterator[str]:
    """The address of a fresh database with our schema."""
    with database_template.copy() as url:
        yield url


@pytest.fixture
def rabbitmq_url(servers: Servers) -> Iterator[str]:
    """The address of a fresh vhost; `servers.rabbitmq.management` looks into it."""
    vhost = unique_name()
    yield servers.rabbitmq.create_vhost(vhost)
    servers.rabbitmq.delete_vhost(vhost)


@pytest.fixture
def redis_url(servers: Servers, worker_id: str) -> str:
    """The address of an empty Redis database, which each xdist worker has for itself."""
    shared = servers.redis.given_url() is not None and worker_id != "master"
    url = servers.redis.database_url(int(worker_id.removeprefix("gw")) if shared else 0)
    servers.redis.flush(url)
    return url


@pytest.fixture(scope="session")
def fault_server_set(say: Callable[[str], None]) -> Iterator[FaultServers]:
    """The servers behind `fault_servers`: started once, mended between tests."""
    with FaultServers(say=say) as broken_and_mended:
        yield broken_and_mended


@pytest.fixture
def fault_servers(fault_server_set: FaultServers) -> FaultServers:
    """Three private, durable servers in perfect order, that the test may do anything to."""
    fault_server_set.renew()
    return fault_server_set
