"""Finds files that nobody will ever ask for: what died between writing a file and recording it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from shared.artifacts import ArtifactStore, StoredObject
from shared.domain.artifact import read_key
from shared.store.store import Store

log = structlog.get_logger(__name__)

#: Seconds in which an upload that is stored gets recorded, with plenty to spare.
_RECORDED_WITHIN_S: Final = 3600.0
#: Seconds after which a file that is still half written has been given up.
_WRITTEN_WITHIN_S: Final = 86_400.0


async def sweep_orphans(artifacts: ArtifactStore, store: Store, *, older_than_s: float = _RECORDED_WITHIN_S) -> int:
    """Remove the files of attempts and uploads that were never recorded, and return how many there were.

    A running attempt keeps its files, however old they are. What is not named as our files are is left alone.
    Any number of workers may do this at the same time.

    Args:
        older_than_s: Younger files are left for the next time.

    Raises:
        ArtifactsUnavailableError: The artifact store can't be reached.
        DatabaseUnavailableError: PostgreSQL is away.
    """
    before = datetime.now(UTC) - timedelta(seconds=older_than_s)
    removed = await artifacts.remove_unfinished(older_than_s=max(older_than_s, _WRITTEN_WITHIN_S))
    async for page in artifacts.stored():
        orphans = await _orphans_among([found for found in page if found.modified_at < before], store)
        await artifacts.delete(orphans)
        removed += len(orphans)
    if removed:
        log.info("orphans_removed", count=removed)
    return removed


async def _orphans_among(page: Sequence[StoredObject], store: Store) -> list[str]:
    keys = {parts[0]: (found.key, parts) for found in page if (parts := read_key(found.key)) is not None}
    if not keys:
        return []
    orphans = await store.artifacts.orphans([parts for _, parts in keys.values()])
    return [keys[id_][0] for id_ in orphans]
