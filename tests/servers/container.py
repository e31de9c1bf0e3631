"""What runs in a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """An image and what it is given. The ports are those inside the container."""

    image: str
    ports: tuple[int, ...]
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[PurePosixPath, str] = field(default_factory=dict)
