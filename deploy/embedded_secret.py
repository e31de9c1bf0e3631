"""The secret that signs the webhooks of the embedded mode where WEBHOOK_SECRET names none."""

import os
import secrets
from pathlib import Path
from typing import Final

from shared.domain.signing import parse_secrets, secret_from
from shared.errors import SettingsError

_FILE: Final = "webhook-secret"
_BYTES: Final = 32


def webhook_secret(data_dir: Path) -> str:
    """The secret in the data folder, made on the first call. The caller holds the folder's lock.

    Raises:
        SettingsError: The file holds something else.
    """
    path = data_dir / _FILE
    if not path.exists():
        # Renamed into place: a start that is cut off leaves no half of a secret behind.
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret_from(secrets.token_bytes(_BYTES)) + "\n")
        fresh.rename(path)
    secret = path.read_text("utf-8", errors="replace").strip()
    try:
        parse_secrets(secret)
    except ValueError as error:
        raise SettingsError(f"{path} can't be used: {error}; delete it to have a new one made") from error
    return secret
