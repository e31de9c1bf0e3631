"""How a handler says what should happen next, and how it learns that it should end."""


class Permanent(Exception):
    """The task has failed and another attempt would fail the same way: a dead letter at once."""


class Retry(Exception):
    """Try again, whatever the reason; it spends an attempt.

    Args:
        reason: Goes into the task's errors.
        after: Seconds to wait; None for what the type's policy says.
    """

    def __init__(self, reason: str = "asked to be tried again", *, after: float | None = None) -> None:
        super().__init__(reason)
        if after is not None and not 0 <= after <= 366 * 86400:
            raise ValueError(f"after={after!r} is not a number of seconds from 0 to a year")
        self.after = after


class Stopped(Exception):
    """Raised by `ctx.check_cancelled()`: the attempt is to end now. Let it pass."""


class SoftTimeout(Stopped):
    """Raised by `ctx.check_cancelled()` after the soft timeout: finish what is needed and end."""
