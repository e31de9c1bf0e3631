"""Create the tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("died_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("dead_letters_pkey")),
    )
    op.create_index("dead_letters_died_idx", "dead_letters", ["died_at", "id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "5000"},
    )
    op.create_index("outbox_due_idx", "outbox", ["due_at"], unique=False)
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("queues_pkey")),
    )
    op.create_table(
        "task_keys",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("keep_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("task_keys_pkey")),
    )
    op.create_index(
        "task_keys_spent_idx", "task_keys", ["keep_until"], unique=False, postgresql_where=sa.text("NOT open")
    )
    op.create_table(
        "task_types",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("announcement", sa.Text(), nullable=False, comment="JSON of TaskTypeInfo"),
        sa.Column(
            "announced_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("task_types_pkey")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column(
            "attempts_before",
            sa.Integer(),
            nullable=False,
            comment="attempt numbers spent before the last renewal",
        ),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_s", sa.Double(), nullable=False),
        sa.Column("soft_timeout_s", sa.Double(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("errors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("queued_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("run_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("unique_key", sa.LargeBinary(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="grows with every change; caches keep the highest",
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'expired', 'failed', 'queued', 'retrying', 'running', 'scheduled', 'succeeded')",
            name="tasks_status_check",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
        postgresql_with={"fillfactor": "85", "autovacuum_vacuum_scale_factor": "0.02"},
    )
    op.create_index(
        "tasks_due_idx",
        "tasks",
        ["run_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('retrying', 'scheduled')"),
    )
    op.create_index(
        "tasks_expiring_idx",
        "tasks",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL AND status IN ('queued', 'retrying', 'scheduled')"),
    )
    op.create_index(
        "tasks_failed_idx",
        "tasks",
        ["queue", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "tasks_queued_idx",
        "tasks",
        ["queue", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "tasks_running_idx", "tasks", ["worker"], unique=False, postgresql_where=sa.text("status = 'running'")
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False, comment="JSON object: queue to concurrency"),
        sa.Column("types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("heartbeat_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("steady_since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("stale_after_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("workers_pkey")),
    )


def downgrade() -> None:
    for table in ("workers", "tasks", "task_types", "task_keys", "queues", "outbox", "dead_letters"):
        op.drop_table(table)
