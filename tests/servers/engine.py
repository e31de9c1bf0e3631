"""Servers run in containers, through testcontainers. Slow to import."""

from __future__ import annotations

import contextlib
import functools
import socket
from pathlib import PurePath
from typing import Final
from urllib.parse import SplitResult, urlsplit

import docker  # type: ignore[import-untyped]
import requests
from docker.models.containers import Container as Handle  # type: ignore[import-untyped]
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient, get_docker_host

from tests.servers import reaper
from tests.servers.container import Container
from tests.servers.errors import NoEngineError, NoImageError, NotStoppedError
from tests.servers.sandbox import LOOPBACK, free_port

_LOOK_TIMEOUT_S: Final = 5
_STOP_TIMEOUT_S: Final = 60
_LOG_TAIL_LINES: Final = 20


@functools.cache
def _engine() -> docker.DockerClient | None:
    """The engine that testcontainers would use, if it answers."""
    if not _is_listening(urlsplit(docker.utils.parse_host(get_docker_host()))):
        return None
    try:
        client = DockerClient().client
        client.ping()
    except (docker.errors.DockerException, requests.RequestException):
        return None
    return client


def _is_listening(address: SplitResult) -> bool:
    """Whether somebody is there. The library would find out too, but leave a socket open."""
    if address.scheme not in {"http+unix", "tcp"}:
        return True  # beyond a simple look
    family = socket.AF_UNIX if address.scheme == "http+unix" else socket.AF_INET
    place = address.path if family == socket.AF_UNIX else (address.hostname, address.port)
    with socket.socket(family) as visitor:
        visitor.settimeout(_LOOK_TIMEOUT_S)
        try:
            visitor.connect(place)
        except OSError:
            return False
    return True


def require_image(image: str) -> None:
    """Have an engine with the image, which is pulled if it is not there.

    Raises:
        NoEngineError: No engine answers.
        NoImageError: The image cannot be had.
    """
    client = _engine()
    if client is None:
        raise NoEngineError
    if not _has_image(client, image):
        raise NoImageError(image)
    # Testcontainers' own reaper is welcome, and not needed: there is ours.
    if not testcontainers_config.ryuk_disabled:
        testcontainers_config.ryuk_disabled = not _has_image(client, testcontainers_config.ryuk_image)


def _has_image(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return _can_pull(client, image)
    return True


def _can_pull(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.pull(image)
    except (docker.errors.DockerException, requests.RequestException):
        return False
    return True


class ContainerControl:
    """Runs a `Container`; its ports stay the same however often it is made anew."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._files: dict[PurePath, str] = dict(container.files.items())
        # Ports that Docker chooses would change with every start.
        self._ports = {port: free_port() for port in container.ports}
        self._handle: Handle | None = None
        host = DockerClient().host()
        # The address, since the name may stand for the IPv6 one too, where nobody listens.
        self._host = LOOPBACK if host == "localhost" else host

    def address(self, port: int) -> str:
        """Where a port of the container is reached from here."""
        return f"{self._host}:{self._ports[port]}"

    def start(self) -> None:
        """Start the container; make it first if there is none."""
        if self._handle is None:
            self._handle = self._create()
        else:
            self._handle.start()

    def stop(self) -> None:
        """Send the image's stop signal and wait."""
        self.resume()
        if self._handle is not None:
            self._handle.stop(timeout=_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill the first process, and with it the kernel kills all others."""
        self.resume()
        if self._is("running"):
            self._get().kill()
            self._get().wait()

    def pause(self) -> None:
        """Freeze the container."""
        if self._is("running"):
            self._get().pause()

    def resume(self) -> None:
        """Thaw the container."""
        if self._is("paused"):
            self._get().unpause()

    def wipe(self) -> None:
        """Remove the container with its volumes; `start` makes a new one."""
        if self._is("running") or self._is("paused"):
            raise NotStoppedError
        self.close()

    def close(self) -> None:
        """Remove the container with its volumes, running or not."""
        if self._handle is not None:
            with contextlib.suppress(docker.errors.NotFound):
                self._handle.remove(force=True, v=True)
            self._handle = None

    def death(self) -> str | None:
        """The exit code, once the container has stopped."""
        if self._handle is None:
            return "was stopped"
        if not self._is("exited"):
            return None
        return f"ended with code {self._handle.attrs['State']['ExitCode']}"

    def pids(self) -> list[int]:
        """The container's first process, as this machine counts it; the engine of another one is no help."""
        if self._host != LOOPBACK or not self._is("running"):
            return []
        return [int(self._get().attrs["State"]["Pid"])]

    def log_tail(self) -> str:
        """The last lines that the container has printed."""
        if self._handle is None:
            return ""
        printed: bytes = self._handle.logs(tail=_LOG_TAIL_LINES)
        return printed.decode(errors="replace")

    def put_file(self, path: PurePath, content: str) -> None:
        """Copy it into this container, and into each that replaces it."""
        self._files[path] = content

    def _create(self) -> Handle:
        made = DockerContainer(self._container.image).with_command(list(self._container.command))
        made.with_envs(**self._container.environment)
        made.with_kwargs(labels=reaper.label())
        for path, content in self._files.items():
            made.with_copy_into_container(content.encode(), str(path))
        for inside, outside in self._ports.items():
            made.ports[str(inside)] = self._binding(outside)  # type: ignore[assignment]
        return made.start().get_wrapped_container()

    def _binding(self, port: int) -> int | tuple[str, int]:
        # A bare number opens the port to the network: only where we come from there.
        return (LOOPBACK, port) if self._host == LOOPBACK else port

    def _get(self) -> Handle:
        if self._handle is None:
            raise NotStoppedError
        return self._handle

    def _is(self, status: str) -> bool:
        if self._handle is None:
            return False
        self._handle.reload()
        return bool(self._handle.status == status)
