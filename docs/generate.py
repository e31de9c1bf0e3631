"""Redraws what the documentation shows of the code: `python -m docs.generate`, or `--check` to compare only.

In the README and in the pages of `docs`, what stands between `<!-- generated: NAME -->` and `<!-- end -->` is
replaced. `docs/openapi.json` is made whole.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

from api_service.app import create_app
from api_service.openapi import describe
from api_service.services import Services
from api_service.streams import Streams
from client.command.app import app
from client.command.exits import MEANINGS
from shared.artifacts import ArtifactStore
from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.domain.status import MOVES, TaskStatus, is_final
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.settings import ApiSettings, EmbeddedSettings, ServiceSettings, WorkerSettings
from shared.store.database import Database
from shared.store.store import Store
from shared.telemetry import metrics

_DOCS: Final = Path(__file__).parent
_BLOCK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which are stale; return the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m docs.generate [--check]\n")
        return 2
    stale = {path: text for path, text in _pages() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        name = path.relative_to(_DOCS.parent)
        if arguments:
            sys.stderr.write(f"{name} is stale: make docs\n")
        else:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"Wrote {name}\n")
    return 1 if stale and arguments else 0


def _pages() -> Iterator[tuple[Path, str]]:
    for path in (_DOCS.parent / "README.md", *sorted(_DOCS.glob("*.md"))):
        yield path, _BLOCK.sub(_redrawn, path.read_text("utf-8"))
    yield _DOCS / "openapi.json", json.dumps(_openapi(), indent=2, ensure_ascii=False) + "\n"


def _redrawn(block: re.Match[str]) -> str:
    lines = "\n".join(_PARTS[block[2]]())
    return f"{block[1]}{lines}\n{block[3]}"


# The parts ..........................................................................


def _moves_table() -> Iterator[str]:
    yield "| move | from | to | made by |"
    yield "|---|---|---|---|"
    yield "| accept | | `scheduled`, `queued` | the API |"
    for name, move in MOVES.items():
        yield f"| {name} | {_listed(move.sources)} | {_listed(move.targets)} | {move.made_by} |"


def _moves_picture() -> Iterator[str]:
    edges: dict[tuple[TaskStatus, TaskStatus], list[str]] = {}
    for name, move in MOVES.items():
        for source in _in_order(move.sources):
            for target in _in_order(move.targets):
                edges.setdefault((source, target), []).append(name)
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> scheduled: accept"
    yield "    [*] --> queued: accept"
    for (source, target), names in edges.items():
        yield f"    {source} --> {target}: {', '.join(names)}"
    for status in TaskStatus:
        if is_final(status):
            yield f"    {status} --> [*]"
    yield "```"


def _settings_table() -> Iterator[str]:
    yield "| variable | default | read by | what it is |"
    yield "|---|---|---|---|"
    services = {**ServiceSettings.model_fields, **ApiSettings.model_fields, **WorkerSettings.model_fields}
    for name, field in (services | EmbeddedSettings.model_fields).items():
        field = services.get(name, field)
        default = _default(field)
        if (embedded := _default(EmbeddedSettings.model_fields[name])) != default:
            default += f"; embedded: {embedded}"
        yield f"| `{name.upper()}` | {default} | {_readers(name)} | {field.description or ''} |"


def _metrics_table() -> Iterator[str]:
    yield "| metric | kind | labels | what it counts |"
    yield "|---|---|---|---|"
    for metric in sorted(_metrics(), key=lambda metric: metric._name):  # noqa: SLF001 - it has no public name
        [family] = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


def _example() -> Iterator[str]:
    yield "```python"
    yield (_DOCS / "examples" / "billing.py").read_text("utf-8").partition("\n\n")[2].rstrip()
    yield "```"


def _commands_table() -> Iterator[str]:
    yield "| command | what it does |"
    yield "|---|---|"
    for words, command in _commands(typer.main.get_command(app)):
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        named = [part.metavar if part.required else f"[{part.metavar}]" for part in arguments]
        summary = str(command.help).partition("\n")[0].removesuffix(".")
        yield f"| `{' '.join(['taskmill', *words, *named])}` | {summary} |"


def _exits_table() -> Iterator[str]:
    yield "| exit status | meaning |"
    yield "|---|---|"
    for status, meaning in MEANINGS.items():
        yield f"| {status} | {meaning} |"


_PARTS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "moves_table": _moves_table,
    "moves_picture": _moves_picture,
    "settings_table": _settings_table,
    "metrics_table": _metrics_table,
    "example": _example,
    "commands_table": _commands_table,
    "exits_table": _exits_table,
}


def _openapi() -> dict[str, Any]:
    """The API without the examples of announced types; nothing is opened or connected for it."""
    store, broker, cache, events = (
        Store(Database("postgresql://nowhere")),
        MemoryBroker(),
        MemoryCache(),
        MemoryEvents(),
    )
    services = Services(
        store=store,
        broker=broker,
        cache=cache,
        events=events,
        publisher=Publisher(broker, store.outbox, Pace(store.task_types)),
        news=News(cache, events, result_ttl_s=1, failure_ttl_s=1),
        streams=Streams(events),
        artifacts=ArtifactStore("file:///nowhere"),
    )
    app = create_app(services, max_body_bytes=1, max_batch_body_bytes=1, max_artifact_bytes=1)
    document = describe(app, {})
    document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
    return document


# Their details ......................................................................


def _in_order(statuses: frozenset[TaskStatus]) -> list[TaskStatus]:
    return [status for status in TaskStatus if status in statuses]


def _listed(statuses: frozenset[TaskStatus]) -> str:
    return ", ".join(f"`{status}`" for status in _in_order(statuses))


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`" if str(value) else ""


def _readers(name: str) -> str:
    readers: dict[str, type[ServiceSettings]] = {"API": ApiSettings, "worker": WorkerSettings}
    named = [reader for reader, kind in readers.items() if name in kind.model_fields]
    return ", ".join(named) or "embedded"


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _metrics() -> list[MetricWrapperBase]:
    return [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
