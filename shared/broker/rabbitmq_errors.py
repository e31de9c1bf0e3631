"""The border where errors of the RabbitMQ library become ours."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import BrokerUnavailableError, TaskmillError

# The library logs an error for each try to connect; here a broker that is away is mentioned once.
for _name in ("aiormq.connection", "aiormq.channel"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Whatever the library raises because the broker is away, closing or unwilling becomes one error.

    The library also cancels what waits on a channel that goes away: a cancellation that nobody asked this
    task for must not end it.

    Raises:
        BrokerUnavailableError: Instead of all that.
    """
    try:
        yield
    except TaskmillError:
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailableError("the channel was closed meanwhile") from None
    except Exception as error:
        raise BrokerUnavailableError(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """What the library says, or the operating system if that was behind it."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return str(cause) or repr(cause)
