"""What every command has: where Taskmill is, who asks, how to print; and an end without a traceback."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from client.command.exits import INTERRUPTED, CommandError, document_of, file_refusal, line_of, status_of
from client.command.output import Output, clean

if TYPE_CHECKING:
    from client.blocking import Taskmill

F = TypeVar("F", bound=Callable[..., None])

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Url = Annotated[
    str | None, typer.Option(metavar="URL", help="Where Taskmill is (default: $TASKMILL_URL, else port 8000 here).")
]
ApiKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="API key (default: $TASKMILL_API_KEY, which others can't see).")
]


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every command takes, before or after its name."""

    as_json: bool = False
    url: str | None = None
    api_key: str | None = None

    def over(self, other: "Common") -> "Common":
        """These, and what `other` says where these say nothing."""
        return Common(
            self.as_json or other.as_json,
            other.url if self.url is None else self.url,
            other.api_key if self.api_key is None else self.api_key,
        )


class Session:
    """One run of a command."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.output = Output(as_json=common.as_json)

    @cached_property
    def client(self) -> "Taskmill":
        """The client, made when it is first needed."""
        from client.blocking import Taskmill

        # A person is told sooner than a program that nobody answers.
        return Taskmill(self.common.url, api_key=self.common.api_key, retries=3)

    def close(self) -> None:
        """Close the client's connections, if it was needed."""
        if "client" in self.__dict__:
            self.client.close()

    def show(self, document: Any, human: Callable[[], None]) -> None:
        """Print a document as JSON where that was asked for, else call `human` to print it."""
        if self.output.as_json:
            self.output.json(document)
        else:
            human()

    def done(self, text: str, **document: Any) -> None:
        """Say that it is done."""
        self.show(document, lambda: self.output.say(text))


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[F], F]:
    """Registers a function whose first argument is a Session as a command; it gets the common options too."""

    def register(function: F) -> F:
        @wraps(function)
        def run(ctx: typer.Context, as_json: bool, url: str | None, api_key: str | None, **arguments: Any) -> None:
            session = Session(Common(as_json, url, api_key).over(ctx.find_object(Common) or Common()))
            with _ending_well(session):
                function(session, **arguments)

        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [
            _parameter("ctx", typer.Context, inspect.Parameter.empty),
            *(_parameter(given.name, hints[given.name], given.default) for given in own),
            _parameter("as_json", Json, False),
            _parameter("url", Url, None),
            _parameter("api_key", ApiKey, None),
        ]
        run.__dict__.pop("__wrapped__")
        run.__dict__["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, **settings)(run)
        return function

    return register


def report(error: Exception, *, as_json: bool) -> None:
    """Say on standard error why it does not go on."""
    if as_json:
        import json

        print(json.dumps(document_of(error)), file=sys.stderr)
    else:
        print(clean(line_of(error)), file=sys.stderr)


@contextmanager
def _ending_well(session: Session) -> Iterator[None]:
    """Turns errors into a line and an exit status, and closes what is open."""
    try:
        yield
    except KeyboardInterrupt:
        if not session.output.as_json:
            print("taskmill: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except CommandError as error:
        report(error, as_json=session.output.as_json)
        raise typer.Exit(error.status) from error
    except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
        raise
    except OSError as error:
        refusal = file_refusal(error)
        report(refusal, as_json=session.output.as_json)
        raise typer.Exit(refusal.status) from error
    except Exception as error:
        from client.errors import TaskmillError

        if not isinstance(error, TaskmillError):
            raise
        report(error, as_json=session.output.as_json)
        raise typer.Exit(status_of(error)) from error
    finally:
        session.close()


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
