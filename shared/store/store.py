"""Everything that is stored, in one hand."""

from shared.store.api_keys import ApiKeys
from shared.store.artifacts import Artifacts
from shared.store.audit import Audit
from shared.store.daily import Daily
from shared.store.database import Database
from shared.store.dead_letters import DeadLetters
from shared.store.diagnostics import Diagnostics
from shared.store.facts import FactFinder
from shared.store.lifecycle import Lifecycle
from shared.store.marks import Marks
from shared.store.outbox import Outbox
from shared.store.partitions import Partitions
from shared.store.purges import Purges
from shared.store.queues import Queues
from shared.store.retiring import Retiring
from shared.store.schedule_runs import ScheduleRuns
from shared.store.schedules import Schedules
from shared.store.submissions import Submissions
from shared.store.task_types import TaskTypes
from shared.store.tasks import Tasks
from shared.store.workers import Workers


class Store:
    """The parts of the store over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.submissions = Submissions(database)
        self.lifecycle = Lifecycle(database)
        self.tasks = Tasks(database)
        self.partitions = Partitions(database)
        self.retiring = Retiring(database)
        self.facts = FactFinder(database)
        self.outbox = Outbox(database)
        self.task_types = TaskTypes(database)
        self.queues = Queues(database)
        self.daily = Daily(database)
        self.purges = Purges(database)
        self.workers = Workers(database)
        self.schedules = Schedules(database)
        self.schedule_runs = ScheduleRuns(database)
        self.marks = Marks(database)
        self.dead_letters = DeadLetters(database)
        self.artifacts = Artifacts(database)
        self.audit = Audit(database)
        self.api_keys = ApiKeys(database)
        self.diagnostics = Diagnostics(database)
