"""The records of files: what the artifact store holds, and for whom."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from shared.domain.artifact import Artifact, InTask
from shared.errors import ArtifactNotFoundError
from shared.store.connection import Row
from shared.store.database import Database
from shared.store.statement import text


class Artifacts:
    """Reads and writes the table `artifacts`. The files of tasks are recorded by `Lifecycle.finish`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_upload(self, upload: Artifact) -> None:
        """Record a file that a client has sent. Safe to repeat."""
        async with self._database.read() as connection:
            await connection.execute(
                _ADD,
                {
                    "id": upload.id,
                    "name": upload.name,
                    "media_type": upload.media_type,
                    "size_bytes": upload.size_bytes,
                },
            )

    async def find(self, wanted: UUID | InTask) -> Artifact:
        """One file, by its id or by its name in its task.

        Raises:
            ArtifactNotFoundError: There is none.
        """
        if isinstance(wanted, InTask):
            statement, parameters = _FIND_IN_TASK, {"task_id": wanted.task_id, "name": wanted.name}
        else:
            statement, parameters = _FIND, {"id": wanted}
        async with self._database.read() as connection:
            row = await connection.one_or_none(statement, parameters)
        if row is None:
            raise ArtifactNotFoundError(wanted)
        return _artifact_from(row)

    async def forget_uploads(self, *, older_than_days: float, limit: int) -> list[Artifact]:
        """Delete the records of at most `limit` uploads that came so long ago, and return them."""
        async with self._database.read() as connection:
            rows = await connection.execute(_FORGET_UPLOADS, {"days": older_than_days, "limit": limit})
            return [_artifact_from(row) for row in rows]

    async def orphans(self, found: Sequence[tuple[UUID, UUID | None, int | None]]) -> set[UUID]:
        """Which of these files in the store nobody will ever ask for.

        A file that is not recorded may still be if its attempt is running; every other one never will be.

        Args:
            found: The id, task and attempt of each.
        """
        async with self._database.read() as connection:
            rows = await connection.execute(
                _ORPHANS,
                {
                    "ids": [id_ for id_, _, _ in found],
                    "tasks": [task_id for _, task_id, _ in found],
                    "attempts": [attempt for _, _, attempt in found],
                },
            )
            return {row.id for row in rows}


def _artifact_from(row: Row) -> Artifact:
    return Artifact(**dict(row))


_COLUMNS: Final = "a.id, a.task_id, a.attempt, a.name, a.media_type, a.size_bytes, a.created_at"

_ADD: Final = text("""
    INSERT INTO artifacts (id, name, media_type, size_bytes, created_at)
    VALUES (:id, :name, :media_type, :size_bytes, now()) ON CONFLICT (id) DO NOTHING""")

_FIND: Final = text(f"SELECT {_COLUMNS} FROM artifacts a WHERE a.id = :id")

_FIND_IN_TASK: Final = text(f"""
    SELECT {_COLUMNS} FROM artifacts a WHERE a.task_id = :task_id AND a.name = :name
    ORDER BY a.id DESC LIMIT 1""")

_FORGET_UPLOADS: Final = text(f"""
    DELETE FROM artifacts a WHERE a.id IN (
        SELECT id FROM artifacts
        WHERE task_id IS NULL AND created_at < now() - make_interval(secs => CAST(:days AS float8) * 86400)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING {_COLUMNS}""")

_ORPHANS: Final = text("""
    SELECT f.id
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tasks AS uuid[]), CAST(:attempts AS int[])) AS f(id, task_id, attempt)
    WHERE NOT EXISTS (SELECT FROM artifacts a WHERE a.id = f.id)
      AND NOT EXISTS (
          SELECT FROM tasks t WHERE t.id = f.task_id AND t.status = 'running' AND t.attempt = f.attempt)""")
