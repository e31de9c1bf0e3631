"""RabbitMQ for the tests: how to run one, and vhosts that come and go."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from tests.servers.container import Container
from tests.servers.control import Control
from tests.servers.external import ExternalControl
from tests.servers.management import Management
from tests.servers.program import Program, ProgramControl
from tests.servers.sandbox import LOOPBACK, find_program, free_port
from tests.servers.server import Server
from tests.servers.urls import host_and_port, with_path

_AMQP_PORT: Final = 5672
_MANAGEMENT_PORT: Final = 15672
PATIENCE_S: Final = 5.0  # for one question
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME: Final = b"\x01"
_CONTAINER_FOLDER: Final = PurePosixPath("/etc/rabbitmq")
# What the management API tells is that fresh, in milliseconds.
_STATISTICS_INTERVAL_MS: Final = 500


def _settings(definitions: PurePath) -> str:
    return (
        f"load_definitions = {definitions}\n"
        f"collect_statistics_interval = {_STATISTICS_INTERVAL_MS}\n"
        "loopback_users = none\n"
    )


def _advanced_settings() -> str:
    return f"[{{rabbit, [{{quorum_tick_interval, {_STATISTICS_INTERVAL_MS}}}]}}].\n"


class RabbitMQProgram(Program):
    """The machine's `rabbitmq-server`, apart from any other by name, cookie, ports, folders."""

    name: ClassVar[str] = "rabbitmq"
    process_name: ClassVar[str] = "beam.smp"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.management_port = free_port()
        self.definitions = self.folder / "definitions.json"
        # The node name may be the same everywhere: each node has a name server to itself.
        self._name_server_port = free_port()
        self._cluster_port = free_port()

    def prepare(self) -> None:
        """Make the data folder, and the configuration beside it."""
        self.data.mkdir()
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "advanced.config").write_text(_advanced_settings())
        (self.folder / "environment.conf").touch()
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = {LOOPBACK}:{self.port}\n"
            f"management.tcp.ip = {LOOPBACK}\n"
            f"management.tcp.port = {self.management_port}\n"
            "log.console = true\n"
            "log.file = false\n" + _settings(self.definitions)
        )
        self.account.own(self.folder)

    def command(self) -> list[str]:
        """The server in the foreground; it brings up its own name server."""
        return [str(self.find_server())]

    def environment(self) -> dict[str, str]:
        """Everything that would otherwise be looked for in the places of the system's node."""
        folder = str(self.folder)
        return super().environment() | {
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._name_server_port),
            "RABBITMQ_NODENAME": "taskmill@localhost",
            "RABBITMQ_DIST_PORT": str(self._cluster_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1}"),
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/environment.conf",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.data),
        }

    @staticmethod
    def find_server() -> Path | None:
        """The program; not Debian's front for it, which lets nobody but two users through."""
        return find_program(
            "rabbitmq-server",
            "/usr/lib/rabbitmq/bin/rabbitmq-server",
            "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
        )


class RabbitMQ(Server):
    """RabbitMQ.

    Args:
        definitions: Where the broker looks, at each start, for the vhosts it must have.

    Attributes:
        management: Looks at queues and connections.
    """

    kind: ClassVar[str] = "RabbitMQ"
    variable: ClassVar[str] = "TEST_RABBITMQ_URL"
    image: ClassVar[str] = "rabbitmq:4-management"
    package: ClassVar[str] = "rabbitmq-server"

    def __init__(self, url: str, control: Control, *, management_url: str, definitions: PurePath) -> None:
        super().__init__(url, control)
        self.management = Management(management_url)
        self._definitions = definitions
        self._vhosts = {"/"}
        self._write_definitions()

    @classmethod
    def at(cls, url: str) -> Self:
        """A server that somebody else runs; the user must be an administrator.

        Its management API is at TEST_RABBITMQ_MANAGEMENT_URL, else at the usual port.
        """
        host, _ = host_and_port(url, _AMQP_PORT)
        user = urlsplit(url).netloc.rpartition("@")[0] or "guest:guest"
        usual = f"http://{user}@{host}:{_MANAGEMENT_PORT}"
        management_url = os.environ.get("TEST_RABBITMQ_MANAGEMENT_URL") or usual
        control = ExternalControl(url)
        return cls(url, control, management_url=management_url, definitions=PurePath())

    @classmethod
    def in_container(cls, *, durable: bool) -> Self:
        """A server in a container of its own; it is always durable."""
        from tests.servers.engine import ContainerControl

        definitions = _CONTAINER_FOLDER / "definitions.json"
        files = {
            _CONTAINER_FOLDER / "conf.d" / "20-tests.conf": _settings(definitions),
            _CONTAINER_FOLDER / "advanced.config": _advanced_settings(),
        }
        ports = (_AMQP_PORT, _MANAGEMENT_PORT)
        control = ContainerControl(Container(image=cls.image, ports=ports, files=files))
        return cls(
            f"amqp://guest:guest@{control.address(_AMQP_PORT)}/",
            control,
            management_url=f"http://guest:guest@{control.address(_MANAGEMENT_PORT)}",
            definitions=definitions,
        )

    @classmethod
    def as_program(cls, *, durable: bool) -> Self:
        """A server from the programs of this machine, run privately; it is always durable."""
        program = RabbitMQProgram()
        return cls(
            f"amqp://guest:guest@{LOOPBACK}:{program.port}/",
            ProgramControl(program),
            management_url=f"http://guest:guest@{LOOPBACK}:{program.management_port}",
            definitions=program.definitions,
        )

    @classmethod
    def is_installed(cls) -> bool:
        """Whether `rabbitmq-server` can be found."""
        return RabbitMQProgram.find_server() is not None

    def is_ready(self) -> bool:
        """Whether the broker greets a client and its management API knows us."""
        try:
            with socket.create_connection(host_and_port(self.url, _AMQP_PORT), PATIENCE_S) as peer:
                peer.sendall(_GREETING)
                answer = peer.recv(1)
        except OSError:
            return False
        return answer == _METHOD_FRAME and self.management.is_ready()

    def create_vhost(self, name: str) -> str:
        """Make a vhost and return its address. It is there again, empty, after a wipe."""
        self.management.create_vhost(name)
        self._vhosts.add(name)
        self._write_definitions()
        return with_path(self.url, name)

    def delete_vhost(self, name: str) -> None:
        """Remove a vhost with all its queues; their clients are disconnected."""
        self._vhosts.discard(name)
        self._write_definitions()
        self.management.delete_vhost(name)

    def close(self) -> None:
        """End for good and leave nothing behind."""
        self.management.close()
        super().close()

    def _write_definitions(self) -> None:
        definitions = _definitions(sorted(self._vhosts))
        self._control.put_file(self._definitions, json.dumps(definitions))


def _definitions(vhosts: list[str]) -> dict[str, Any]:
    """What a broker with these vhosts and the usual guest would export."""
    everything = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": name} for name in vhosts],
        "permissions": [{"vhost": name, **everything} for name in vhosts],
    }
