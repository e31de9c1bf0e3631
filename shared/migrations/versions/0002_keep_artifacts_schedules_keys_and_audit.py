"""Keep artifacts, schedules, API keys and an audit trail"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("requests_per_minute", sa.Double(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("hash", name=op.f("api_keys_hash_key")),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("artifacts_pkey")),
    )
    op.create_index(
        "artifacts_task_idx", "artifacts", ["task_id"], unique=False, postgresql_where=sa.text("task_id IS NOT NULL")
    )
    op.create_index(
        "artifacts_uploaded_idx",
        "artifacts",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("task_id IS NULL"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False, comment="JSON object"),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index("audit_at_idx", "audit", ["at"], unique=False)
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("tick", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why there was no task"),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("ran_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "tick", name=op.f("schedule_runs_pkey")),
    )
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("every_s", sa.Double(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "next_run_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="the next tick that nobody has dealt with",
        ),
        sa.Column("last_task_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(cron IS NULL) <> (every_s IS NULL)", name="schedules_rhythm_check"),
        sa.PrimaryKeyConstraint("name", name=op.f("schedules_pkey")),
    )
    op.create_index(
        "schedules_due_idx",
        "schedules",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("NOT paused AND next_run_at IS NOT NULL"),
    )
    op.create_table(
        "task_marks",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "mark", name=op.f("task_marks_pkey")),
    )
    op.add_column("outbox", sa.Column("type", sa.Text(), nullable=True))
    op.add_column(
        "task_types",
        sa.Column("mean_s", sa.Double(), nullable=True, comment="how long an attempt runs, as workers have measured"),
    )
    op.add_column("queues", sa.Column("paused_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "queues",
        sa.Column(
            "resumed_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
            comment="set until its queued tasks are rung for again",
        ),
    )
    op.create_index("queues_paused_idx", "queues", ["name"], unique=False, postgresql_where=sa.text("paused"))
    op.add_column(
        "tasks", sa.Column("submitted_by", sa.Text(), nullable=True, comment="name of the API key that sent it")
    )
    op.add_column("tasks", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column(
        "tasks",
        sa.Column(
            "artifacts", sa.Text(), nullable=True, comment="JSON array: the files of the last attempt that ended"
        ),
    )
    op.add_column(
        "workers", sa.Column("drain_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("task_types", "mean_s")
    op.drop_column("outbox", "type")
    op.drop_column("workers", "drain_requested")
    op.drop_column("tasks", "artifacts")
    op.drop_column("tasks", "callback_url")
    op.drop_column("tasks", "submitted_by")
    op.drop_index("queues_paused_idx", table_name="queues", postgresql_where=sa.text("paused"))
    op.drop_column("queues", "resumed_at")
    op.drop_column("queues", "paused_at")
    op.drop_table("task_marks")
    op.drop_index(
        "schedules_due_idx",
        table_name="schedules",
        postgresql_where=sa.text("NOT paused AND next_run_at IS NOT NULL"),
    )
    op.drop_table("schedules")
    op.drop_table("schedule_runs")
    op.drop_index("audit_at_idx", table_name="audit")
    op.drop_table("audit")
    op.drop_index("artifacts_uploaded_idx", table_name="artifacts", postgresql_where=sa.text("task_id IS NULL"))
    op.drop_index("artifacts_task_idx", table_name="artifacts", postgresql_where=sa.text("task_id IS NOT NULL"))
    op.drop_table("artifacts")
    op.drop_table("api_keys")
