"""The schedules that come with Taskmill. A person may change or pause them; one that is deleted comes back."""

from typing import Final

from shared.domain.schedule import CatchUp, Overlap, ScheduleDefinition

BUILT_IN_SCHEDULES: Final = (
    ScheduleDefinition(
        name="monitoring.health_check",
        cron="*/5 * * * *",
        type="monitoring.health_check",
        overlap=Overlap.SKIP,
    ),
    ScheduleDefinition(
        name="monitoring.daily_metrics",
        cron="10 0 * * *",
        type="monitoring.daily_metrics",
        # The report of a day is wanted even where no worker was there at its hour.
        catch_up=CatchUp.ONE,
        overlap=Overlap.SKIP,
    ),
    ScheduleDefinition(
        name="maintenance.cleanup",
        cron="40 * * * *",
        type="maintenance.cleanup",
        payload='{"older_than_days":7}',
        overlap=Overlap.SKIP,
    ),
)
