"""Everything that is stored, in one hand."""

from shared.store.audit import Audit
from shared.store.database import Database
from shared.store.dead_letters import DeadLetters
from shared.store.lifecycle import Lifecycle
from shared.store.outbox import Outbox
from shared.store.purges import Purges
from shared.store.queues import Queues
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
        self.outbox = Outbox(database)
        self.task_types = TaskTypes(database)
        self.queues = Queues(database)
        self.purges = Purges(database)
        self.workers = Workers(database)
        self.dead_letters = DeadLetters(database)
        self.audit = Audit(database)
