"""`python -m client.verify`: checks a running deployment from outside, over HTTP, step by step."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import httpx

from client.checks import CHECKS, Check
from client.site import DoesNotHoldError, RefusedError, Site

_DESCRIPTION: Final = """\
Checks a running Taskmill from outside, step by step: health, submitting, results, retries, cancelling, duplicates,
delays, batches, dead letters. It takes about half a minute, harms nothing, and may run on a system in use: its tasks
carry a tag of their own, and what it leaves waiting or dead it cancels or discards at the end."""

_EPILOG: Final = """\
exit status:
  0    everything holds
  1    something does not hold
  2    wrong usage, or nothing to check: not reachable, or the API key is refused
  130  interrupted"""

HOLDS, DOES_NOT_HOLD, NOT_CHECKED, INTERRUPTED = 0, 1, 2, 130

#: Name of the variable that holds the API key: on a command line everybody on the machine can read it.
_KEY_VARIABLE: Final = "TASKMILL_API_KEY"
_CONNECT_S: Final = 10.0
_PAUSE_S: Final = 0.3
_WIDTH: Final = 62


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names and return the exit status."""
    options = _parse(arguments)
    with suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a redirected one may be something else
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    timeout = httpx.Timeout(_CONNECT_S)
    with httpx.Client(base_url=options.url, headers=headers, timeout=timeout, trust_env=False) as http:
        return _verify(http, Site(http, patience_s=options.timeout), start_s=options.start)


def _verify(http: httpx.Client, site: Site, *, start_s: float) -> int:
    try:
        _await_answer(http, start_s)
        print(f"Taskmill at {http.base_url}", flush=True)
        return _run(CHECKS, site)
    except RefusedError as error:
        return _not_checked(f"{http.base_url} refuses the API key (--key, {_KEY_VARIABLE}): {error}")
    except httpx.TransportError as error:
        return _not_checked(f"nothing answers at {http.base_url}: {str(error) or type(error).__name__}")
    except KeyboardInterrupt:
        print("\ninterrupted")
        return INTERRUPTED
    finally:
        with suppress(httpx.TransportError, KeyboardInterrupt):
            site.clean_up()


def _await_answer(http: httpx.Client, start_s: float) -> None:
    """Return when something answers; TransportError if that takes longer than `start_s` seconds."""
    until = time.monotonic() + start_s
    while True:
        try:
            http.get("/health")
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _run(checks: Sequence[Check], site: Site) -> int:
    began = time.monotonic()
    failed = 0
    for done, check in enumerate(checks, start=1):
        if not _holds(check, site):
            failed += 1
            if check.is_vital:
                print(f"The {len(checks) - done} checks that need this were not made.")
                break
    took_s = time.monotonic() - began
    if failed:
        print(f"{failed} of {len(checks)} checks failed ({took_s:.1f} s)")
        return DOES_NOT_HOLD
    print(f"All {len(checks)} checks hold ({took_s:.1f} s)")
    return HOLDS


def _holds(check: Check, site: Site) -> bool:
    began = time.monotonic()
    try:
        seen = check.run(site)
    except DoesNotHoldError as error:
        _report("✗", "x", check, began, str(error))
        return False
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        # An answer whose shape is not that of the contract.
        _report("✗", "x", check, began, f"an answer does not look as it should: {type(error).__name__}: {error}")
        return False
    _report("✓", "+", check, began, seen)
    return True


def _report(mark: str, plain_mark: str, check: Check, began: float, remark: str) -> None:
    mark = mark if _can_print(mark) else plain_mark
    line = f"  {mark} {check.title:{_WIDTH}} {time.monotonic() - began:6.2f} s"
    print(f"{line}  {remark}".rstrip(), flush=True)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _not_checked(reason: str) -> int:
    print(f"verify: {reason}", file=sys.stderr)
    return NOT_CHECKED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m client.verify",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url", type=_url, default="http://127.0.0.1:8000", help="where Taskmill is (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key",
        "--key",
        dest="key",
        default=os.environ.get(_KEY_VARIABLE),
        help=f"API key, if it wants one (default: ${_KEY_VARIABLE})",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long any one thing may take to come about (default: %(default)g)",
    )
    parser.add_argument(
        "--start",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait until anything answers at all (default: %(default)g)",
    )
    return parser.parse_args(arguments)


def _url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL like http://127.0.0.1:8000")
    return url


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
