"""Where files can be kept: a folder, or a bucket of S3."""

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from obstore.store import LocalStore, S3Store

# A request may last as long as a slow client takes; one that stands still may not.
_CLIENT: Final = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(days=1),
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


def require_artifacts_url(url: str) -> None:
    """Do nothing if artifacts can be kept at an address.

    Raises:
        ValueError: They can't.
    """
    parts = urlsplit(url)
    is_folder = parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/")
    is_bucket = parts.scheme == "s3" and bool(parts.netloc)
    if not (is_folder or is_bucket) or parts.query or parts.fragment:
        raise ValueError("must be file:///folder (three slashes: an absolute path) or s3://bucket/prefix")


def folder_of(url: str) -> Path | None:
    """The folder that an address names; None for a bucket."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def open_place(url: str, folder: Path | None) -> "LocalStore | S3Store":
    """What the library works with. A folder is made if it is not there; a bucket is not asked yet."""
    from obstore.store import LocalStore, S3Store

    if folder is not None:
        return LocalStore(folder, mkdir=True, automatic_cleanup=True)
    # Who writes http:// means it.
    is_plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    options = {**_CLIENT, "allow_http": True} if is_plain else _CLIENT
    return S3Store.from_url(url, client_options=options, retry_config=_RETRIES)  # type: ignore[arg-type]


def remove_unfinished(folder: Path, before: float) -> int:
    """Remove half written files that nobody has touched since `before`, and return how many there were."""
    removed = 0
    for path in folder.rglob("*#*"):
        # The library writes to KEY#NUMBER, and renames it when it is whole.
        with suppress(FileNotFoundError):
            if re.fullmatch(r".*#[0-9]+", path.name) and path.is_file() and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
