"""Settings of webhooks and mail."""

import subprocess
from pathlib import Path

import pytest

from deploy.embedded_secret import webhook_secret
from shared.domain.mail import Mailbox
from shared.domain.signing import parse_secrets
from shared.errors import SettingsError
from shared.settings import WorkerSettings, load, load_or_exit, setting_names
from worker_service.service import worker_options

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)


def test_what_is_set_reaches_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", f"{SECRET},{SECRET}")
    monkeypatch.setenv("WEBHOOK_ALLOW_PRIVATE", "on")
    monkeypatch.setenv("SMTP_URL", "smtp://mail.example.org")
    monkeypatch.setenv("SMTP_FROM", "Shop <shop@example.org>")

    outbound = worker_options(load(WorkerSettings), "postgresql://x").outbound

    assert outbound.webhook_keys == parse_secrets(SECRET) * 2
    assert outbound.private_callbacks
    assert outbound.mail_server is not None
    assert outbound.mail_server.host == "mail.example.org"
    assert outbound.mail_from == Mailbox("Shop", "shop@example.org")


def test_without_settings_nothing_is_signed_mailed_or_called_at_home() -> None:
    outbound = worker_options(load(WorkerSettings), "postgresql://x").outbound

    assert (outbound.webhook_keys, outbound.mail_server, outbound.private_callbacks) == ((), None, False)


@pytest.mark.parametrize(
    "name, value",
    [
        ("WEBHOOK_SECRET", "s3cret"),
        ("WEBHOOK_SECRET", f"{SECRET} whsec_s3cret"),
        ("WEBHOOK_ALLOW_PRIVATE", "yes"),
        ("SMTP_URL", "smtp://user:s3cret@mail.example.org/path"),
        ("SMTP_URL", "http://user:s3cret@mail.example.org"),
        ("SMTP_FROM", "shop"),
    ],
)
def test_a_worker_with_a_wrong_setting_ends_with_status_2_and_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as caught:
        load_or_exit(WorkerSettings)

    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.startswith(f"taskmill: {name}: ")
    assert "Value error" not in said
    assert "s3cret" not in said


def test_make_up_writes_a_fresh_secret() -> None:
    printed = [
        subprocess.run(["sh", ROOT / "deploy" / "make-env.sh"], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]

    lines = [line for text in printed for line in text.splitlines() if line.startswith("WEBHOOK_SECRET=")]
    keys = [parse_secrets(line.partition("=")[2]) for line in lines]
    assert len(keys) == 2
    assert all(len(key) == 1 for key in keys)
    assert keys[0] != keys[1]


def test_the_embedded_mode_makes_a_secret_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first = webhook_secret(tmp_path)

    assert webhook_secret(tmp_path) == first
    assert len(parse_secrets(first)) == 1
    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_secret_that_somebody_has_spoilt_stops_the_embedded_mode(tmp_path: Path) -> None:
    (tmp_path / "webhook-secret").write_text("s3cret")

    with pytest.raises(SettingsError, match="webhook-secret can't be used") as caught:
        webhook_secret(tmp_path)

    assert "s3cret" not in str(caught.value)
