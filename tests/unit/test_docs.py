import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from docs import generate
from docs.examples.billing import invoice
from shared.domain.signing import parse_secrets, secret_from, sign
from worker_service import Permanent
from worker_service.testing import run_task

DOCS = Path(__file__).parents[2] / "docs"


def page_as_module(name: str) -> ModuleType:
    """The Python of a page, as one module."""
    module = ModuleType(f"docs.{name}")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text("utf-8"), re.DOTALL)
    exec(compile("\n".join(blocks), f"{name}.md", "exec"), module.__dict__)
    return module


EXAMPLES = {
    name: value
    for page in ("writing-tasks", "artifacts")
    for name, value in vars(page_as_module(page)).items()
    if name.startswith("test_")
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_the_tests_that_the_page_on_writing_tasks_shows_pass(example: Any) -> None:
    example()


def test_the_example_of_the_readme_makes_an_invoice() -> None:
    run = run_task(invoice, {"order_id": 1042})

    assert run.result == {"number": "INV-0001042"}
    assert [report["percent"] for report in run.progress] == [50.0, 100.0]


def test_the_example_of_the_readme_fails_for_good_where_there_is_no_order() -> None:
    with pytest.raises(Permanent):
        run_task(invoice, {"order_id": 1_000_001})


def test_a_stale_page_is_noticed_and_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "README.md").write_text("nothing generated")
    (docs / "page.md").write_text("before\n<!-- generated: moves_table -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(generate, "_DOCS", docs)

    stale, wrote, fresh = generate.main(["--check"]), generate.main([]), generate.main(["--check"])

    assert (stale, wrote, fresh) == (1, 0, 0)
    page = (docs / "page.md").read_text()
    assert page.startswith("before\n<!-- generated: moves_table -->\n| move |")
    assert "| claim | `queued` | `running` | consumer |" in page
    assert page.endswith("<!-- end -->\nafter\n")


def test_a_wrong_word_on_the_command_line_is_refused() -> None:
    assert generate.main(["--chekc"]) == 2


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", *DOCS.glob("*.md")], ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")

    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target


def test_the_receiver_that_the_page_on_webhooks_shows_believes_us_and_nobody_else() -> None:
    is_genuine = page_as_module("webhooks").is_genuine
    [key] = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"type": "task.succeeded"}'

    def believed(now: float = 1000.0, body_: bytes = body, keys: tuple[bytes, ...] = (b"x" * 32, key)) -> bool:
        signature = sign(keys, webhook_id="1", timestamp=1000, body=body)
        headers = {"webhook-id": "1", "webhook-timestamp": "1000", "webhook-signature": signature}
        return bool(is_genuine(secret_from(key), headers, body_, now))

    assert believed()
    assert not believed(now=1301.0)
    assert not believed(body_=body + b" ")
    assert not believed(keys=(b"x" * 32,))
    assert not is_genuine(secret_from(key), {}, body)
