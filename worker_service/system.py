"""What Taskmill's own tasks may reach that handlers of applications can't."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.mail import Mailbox, MailServer

if TYPE_CHECKING:  # the processes of the pool know the context of handlers, and have none of these
    from shared.artifacts import ArtifactStore
    from shared.broker.base import Broker
    from shared.news import News
    from shared.publisher import Publisher
    from shared.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """How webhooks and mail leave.

    Attributes:
        webhook_keys: Keys that sign webhooks; with none they go unsigned.
        private_callbacks: Whether a webhook may go to an address of our own network.
        mail_server: None where nobody has named one.
        mail_from: The sender of mail that names none.
    """

    webhook_keys: tuple[bytes, ...] = field(default=(), repr=False)
    private_callbacks: bool = False
    mail_server: MailServer | None = None
    mail_from: Mailbox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The worker's own services, open and running. For the built-in `async def` handlers alone: see `ctx.system`."""

    store: "Store"
    broker: "Broker"
    publisher: "Publisher"
    news: "News"
    outbound: Outbound = Outbound()
    artifacts: "ArtifactStore"
