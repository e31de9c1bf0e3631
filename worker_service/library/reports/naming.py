"""Names of files from titles."""

import re
import unicodedata
from typing import Final

_MAX_LENGTH: Final = 60


def slug(title: str) -> str:
    """A title as the beginning of a file's name: a-z, 0-9 and dashes; `report` where nothing of it is left."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_LENGTH].rstrip("-") or "report"
