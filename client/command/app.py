"""The command `taskmill`, put together."""

import os
import sys
from collections.abc import Sequence

import typer

from client.command import (
    artifacts,
    dead,
    keys,
    overview,
    processes,
    queues,
    schedules,
    tasks,
    watching,
)
from client.command.exits import FAILED, INTERRUPTED, MEANINGS, OK, USAGE, CommandError
from client.command.output import prepare
from client.command.session import ApiKey, Common, Json, Url, report

# \b: keep the lines.
_EPILOG = "\b\nExit status:\n" + "\n".join(f"  {status:3}  {meaning}" for status, meaning in MEANINGS.items())

app = typer.Typer(
    name="taskmill",
    help="Submit work to Taskmill, follow it, and operate what does it.",
    epilog=_EPILOG.replace("`", ""),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _common(ctx: typer.Context, as_json: Json = False, url: Url = None, api_key: ApiKey = None) -> None:
    ctx.obj = Common(as_json, url, api_key)


for module in (tasks, watching, queues, dead, schedules, artifacts, keys, overview, processes):
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        prepare(stream)
    as_json = "--json" in words
    try:
        status = app(args=words, prog_name="taskmill", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        report(CommandError(f"{error.format_message().rstrip('.')} ({_place(error)} --help)"), as_json=as_json)
        return USAGE
    except CommandError as error:
        report(error, as_json=as_json)
        return error.status
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough; nothing is left to be flushed into the closed pipe at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else OK


def _place(error: typer.TyperException) -> str:
    """The words of the command whose help says how it is done."""
    context = getattr(error, "ctx", None)
    return "taskmill" if context is None else str(context.command_path)
