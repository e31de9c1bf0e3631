"""Templates of mail, rendered in a process that may be lost."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_PROGRAM: Final = Path(__file__).with_name("rendering.py")
#: What the process gets of our environment: what it needs to run, and no secret.
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TZ")
#: Seconds after which the process is given up. It ends itself sooner.
_ANSWER_S: Final = 20.0
#: Seconds that it has to end when nothing is left to render.
_END_S: Final = 2.0
#: What begins anything but plain text in a template.
_SYNTAX: Final = ("{{", "{%", "{#")


class TemplateFaultError(Exception):
    """A template can't be rendered for anybody."""


class RendererLostError(Exception):
    """The process was killed from outside, for want of memory perhaps; another attempt may go well."""


class MissingVariableError(Exception):
    """A template can't be rendered with these variables."""


class Templates:
    """The templates of one mailing. Texts without any syntax cost no process.

    Args:
        sources: Templates by name; the one named `html` escapes what it shows.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._is_plain = not any(mark in source for source in sources.values() for mark in _SYNTAX)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends when its input does
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def render(self, variables: Mapping[str, Any]) -> dict[str, str]:
        """The texts for one recipient, by the names of their templates.

        Raises:
            TemplateFaultError: The templates are of no use, for this recipient or any other.
            RendererLostError: Somebody has killed the process.
            MissingVariableError: They are not with these variables.
        """
        if self._is_plain:
            return self._sources
        if self._process is None:
            self._process = await self._started()
            self._require_good(await self._ask(self._process, self._sources))
        answer = await self._ask(self._process, variables)
        if "error" in answer:
            raise MissingVariableError(answer["error"])
        rendered: dict[str, str] = answer["rendered"]
        return rendered

    @staticmethod
    def _require_good(answer: Mapping[str, Any]) -> None:
        if "error" in answer:
            raise TemplateFaultError(answer["error"])

    @staticmethod
    async def _started() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the worker, which will let this end in peace
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        )

    @staticmethod
    async def _ask(process: asyncio.subprocess.Process, question: Mapping[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        frame = json.dumps(question).encode()
        try:
            async with asyncio.timeout(_ANSWER_S):
                process.stdin.write(len(frame).to_bytes(4, "big") + frame)
                await process.stdin.drain()
                length = int.from_bytes(await process.stdout.readexactly(4), "big")
                answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if await process.wait() == -signal.SIGALRM:
                raise TemplateFaultError("takes too long to render") from error
            raise RendererLostError(f"the process that renders templates ended: {process.returncode}") from error
        return answer
