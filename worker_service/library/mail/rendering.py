"""The process that renders templates: run as a program of its own, never imported by a worker.

A template comes from whoever submits tasks, and no sandbox keeps `{{ 9 ** 9 ** 9 }}` from stopping the process that
works it out. So this process has nothing to lose: no settings, little memory, and a timer of the kernel's that ends
it. It reads frames (four bytes of length, then JSON) and answers each with one.
"""

import json
import signal
import sys
from typing import Any, BinaryIO, Final

from jinja2 import StrictUndefined, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Seconds that one mail may take to render.
RENDER_S: Final = 5
_MEMORY_BYTES: Final = 512 * 1024 * 1024
_OUTPUT_CHARS: Final = 5_000_000


class _TooLongError(Exception):
    pass


def main(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Take the templates, then render them for one set of variables after the other, until the input ends."""
    _limit_oneself()
    templates = _compiled(_read(stdin), stdout)
    while templates is not None and (variables := _read(stdin)) is not None:
        signal.setitimer(signal.ITIMER_REAL, RENDER_S)  # its signal ends the process wherever it stands
        answer = _rendered(templates, variables)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(stdout, answer)


def _compiled(sources: dict[str, str] | None, stdout: BinaryIO) -> dict[str, Any] | None:
    signal.setitimer(signal.ITIMER_REAL, RENDER_S)
    templates = {}
    for name, source in (sources or {}).items():
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=name == "html", keep_trailing_newline=True
        )
        try:
            templates[name] = environment.from_string(source)
        except TemplateSyntaxError as error:
            _write(stdout, {"error": f"{name}, line {error.lineno}: {error.message}"})
            return None
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
            _write(stdout, {"error": f"{name}: is nested too deeply or too large"})
            return None
    signal.setitimer(signal.ITIMER_REAL, 0)
    _write(stdout, {"ready": True})
    return templates


def _rendered(templates: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    rendered = {}
    for name, template in templates.items():
        try:
            rendered[name] = _bounded(template.generate(variables))
        except MemoryError:
            return {"error": f"{name}: needs more memory than it may have"}
        except _TooLongError:
            return {"error": f"{name}: becomes longer than {_OUTPUT_CHARS} characters"}
        except Exception as error:  # noqa: BLE001 - whatever a template does is its author's to hear of
            return {"error": f"{name}: {str(error)[:500] or type(error).__name__}"}
    return {"rendered": rendered}


def _bounded(pieces: Any) -> str:
    text, length = [], 0
    for piece in pieces:
        text.append(piece)
        length += len(piece)
        if length > _OUTPUT_CHARS:
            raise _TooLongError
    return "".join(text)


def _limit_oneself() -> None:
    import ctypes
    import resource

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a worker that is told to stop finishes its letter first
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the worker


def _read(stream: BinaryIO) -> Any:
    length = stream.read(4)
    return json.loads(stream.read(int.from_bytes(length, "big"))) if len(length) == 4 else None


def _write(stream: BinaryIO, value: Any) -> None:
    # ASCII: a lone surrogate that a template made becomes an escape that the worker can refuse.
    frame = json.dumps(value).encode()
    stream.write(len(frame).to_bytes(4, "big") + frame)
    stream.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
