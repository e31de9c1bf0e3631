"""The program Tesseract: one run for each page, and none that outlives its handler."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from worker_service import Permanent
from worker_service.dying import die_with

_PROGRAM: Final = "tesseract"
#: Seconds between two looks at whether the handler is to end.
_LOOK_S: Final = 0.2
#: Seconds that Tesseract may take to list its languages.
_LIST_S: Final = 30.0
_NOT_INSTALLED: Final = (
    "Tesseract is not installed where this worker runs: apt-get install tesseract-ocr, or leave the queue"
    " 'documents' to workers that have it"
)


@dataclass(frozen=True, slots=True)
class Recognized:
    """The text of one page; `confidence` is from 0 to 100, None without words."""

    text: str
    words: int
    confidence: float | None


def require_languages(languages: Sequence[str]) -> None:
    """Do nothing if text in these languages can be read.

    Raises:
        Permanent: Tesseract or one of the languages is not installed.
    """
    if shutil.which(_PROGRAM) is None:
        raise Permanent(_NOT_INSTALLED)
    installed = _installed_languages()
    missing = [language for language in languages if language not in installed]
    if missing:
        package = f"tesseract-ocr-{missing[0].replace('_', '-').lower()}"
        raise Permanent(
            f"no {', '.join(missing)} among the languages installed where this worker runs"
            f" ({', '.join(installed) or 'none'}): apt-get install {package}"
        )


def recognize(
    picture: Path, languages: Sequence[str], *, dpi: int, check_cancelled: Callable[[], None]
) -> Recognized:
    """Read a page. `check_cancelled` raises when the handler is to end; Tesseract is killed then.

    Raises:
        Permanent: Tesseract is not installed.
        OSError: It failed, or was killed.
    """
    base = picture.with_suffix("")
    command = [_PROGRAM, str(picture), str(base), "-l", "+".join(languages), "--dpi", str(dpi), "txt", "tsv"]
    with base.with_suffix(".log").open("w+b") as log:
        status = _run(command, log.fileno(), check_cancelled)
        if status != 0:
            log.seek(0)
            raise OSError(f"tesseract ended with status {status}: {_last_line(log.read(10_000))}")
    text = base.with_suffix(".txt").read_text("utf-8", "replace")
    words, confidence = _confidence(base.with_suffix(".tsv").read_text("utf-8", "replace"))
    return Recognized(text.replace("\f", "").replace("\0", "").strip(), words, confidence)


def _run(command: Sequence[str], output: int, check_cancelled: Callable[[], None]) -> int:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # One core for each page: the worker's processes are as many as its cores.
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            # The handler's process may be killed: then nobody would be left to end this one.
            preexec_fn=partial(die_with, os.getpid()),
        )
    except FileNotFoundError:
        raise Permanent(_NOT_INSTALLED) from None
    try:
        while True:
            try:
                return process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                check_cancelled()
    finally:
        process.kill()
        process.wait()


def _installed_languages() -> list[str]:
    listed = subprocess.run(
        [_PROGRAM, "--list-langs"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIST_S, check=False
    )
    return sorted(line.strip() for line in listed.stdout.decode(errors="replace").splitlines()[1:] if line.strip())


def _confidence(tsv: str) -> tuple[int, float | None]:
    """How many words, and how sure Tesseract is of them on average."""
    header, *lines = tsv.split("\n")
    place = header.split("\t").index("conf")
    found = [float(line.split("\t")[place]) for line in lines if line]
    words = [confidence for confidence in found if confidence >= 0]  # others stand for blocks and lines
    return len(words), round(sum(words) / len(words), 1) if words else None


def _last_line(log: bytes) -> str:
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
