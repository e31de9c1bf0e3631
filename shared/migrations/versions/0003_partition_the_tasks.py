"""Partition the tasks by their ids, which carry the time

The present table becomes one partition as it is: no row is copied, but all are read once to see that they fit.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STORAGE = (
    "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_freeze_min_age = 1000000"
)
_LIKE = "LIKE tasks INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS"
_INDEXES = {
    "due": "(run_at) WHERE status IN ('retrying', 'scheduled')",
    "expiring": "(expires_at) WHERE expires_at IS NOT NULL AND status IN ('queued', 'retrying', 'scheduled')",
    "running": "(worker) WHERE status = 'running'",
    "queued": "(queue, id) WHERE status = 'queued'",
    "failed": "(queue, id) WHERE status = 'failed'",
}


def upgrade() -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    oldest = op.get_bind().scalar(sa.text("SELECT id FROM tasks ORDER BY id LIMIT 1"))
    begin = today if oldest is None else _EPOCH + min(today - _EPOCH, (oldest.int >> 80) // 86_400_000 * _DAY)
    end = today + 2 * _DAY
    present, ahead = f"tasks_{begin:%Y%m%d}", f"tasks_{end:%Y%m%d}"

    op.rename_table("tasks", present)
    op.execute(f"ALTER INDEX tasks_pkey RENAME TO {present}_pkey")
    for name in _INDEXES:
        op.execute(f"ALTER INDEX tasks_{name}_idx RENAME TO {present}_{name}_idx")
    op.execute(f"ALTER TABLE {present} SET ({_STORAGE})")

    op.execute(
        f"CREATE TABLE tasks ({_LIKE.replace('tasks', present)},"
        " CONSTRAINT tasks_pkey PRIMARY KEY (id)) PARTITION BY RANGE (id)"
    )
    for name, definition in _INDEXES.items():
        op.execute(f"CREATE INDEX tasks_{name}_idx ON tasks {definition}")

    op.execute(f"CREATE TABLE {ahead} ({_LIKE}) WITH ({_STORAGE})")
    op.execute(
        f"WITH moved AS (DELETE FROM {present} WHERE id >= '{_first_id_at(end)}' RETURNING *)"
        f" INSERT INTO {ahead} SELECT * FROM moved"
    )
    op.execute(f"CREATE TABLE tasks_leftover ({_LIKE}) WITH ({_STORAGE})")
    _attach("tasks_leftover", "MINVALUE", f"'{_first_id_at(begin)}'")
    _attach(present, f"'{_first_id_at(begin)}'", f"'{_first_id_at(end)}'")
    _attach(ahead, f"'{_first_id_at(end)}'", "MAXVALUE")

    op.create_table(
        "retired_partitions",
        sa.Column("name", sa.Text(), nullable=False, comment="of the table that was the partition"),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("end_id", sa.Uuid(), nullable=False, comment="the first id behind it"),
        sa.Column(
            "ended_before",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            comment="what ended later is not forgotten",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("retired_partitions_pkey")),
    )
    op.execute("ALTER TABLE outbox SET (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off)")


def downgrade() -> None:
    """Copies every row into one table again."""
    op.execute("ALTER TABLE outbox RESET (autovacuum_vacuum_cost_delay, vacuum_truncate)")
    op.execute(
        f"CREATE TABLE tasks_whole ({_LIKE}, CONSTRAINT tasks_whole_pkey PRIMARY KEY (id))"
        " WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02)"
    )
    op.execute("INSERT INTO tasks_whole SELECT * FROM tasks")
    # Retired partitions may hold tasks that were to come back; retention forgets the others once more.
    for name in op.get_bind().scalars(sa.text("SELECT name FROM retired_partitions")).all():
        op.execute(f'INSERT INTO tasks_whole SELECT * FROM "{name}" ON CONFLICT (id) DO NOTHING')
        op.execute(f'DROP TABLE "{name}"')
    op.drop_table("retired_partitions")
    op.drop_table("tasks")
    op.rename_table("tasks_whole", "tasks")
    op.execute("ALTER INDEX tasks_whole_pkey RENAME TO tasks_pkey")
    for name, definition in _INDEXES.items():
        op.execute(f"CREATE INDEX tasks_{name}_idx ON tasks {definition}")


def _attach(name: str, first: str, end: str) -> None:
    op.execute(f"ALTER TABLE tasks ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})")


def _first_id_at(moment: datetime) -> UUID:
    return UUID(int=(moment - _EPOCH) // timedelta(milliseconds=1) << 80)
