"""Faults of the storage under a lake: those that pass are waited out, the others are said in one sentence.

s3fs tries a request again by itself a few times within seconds; this waits longer, and holds for every file
system. Nothing else is tried again: an error of the work itself would come back.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flows.errors import UserError

logger = logging.getLogger("relevance_lake")

Outcome = TypeVar("Outcome")

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further attempt."""

PASSING = {
    getattr(errno, name)
    for name in (
        "EIO", "EREMOTEIO", "EAGAIN", "EBUSY", "EINTR", "ESTALE", "ENOLCK", "ETIMEDOUT", "EPIPE",
        "ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "ENETDOWN", "ENETUNREACH", "ENETRESET",
        "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""Numbers of errors that may be gone at the next attempt; s3fs gives HTTP 409, 500 and 503 such ones."""

PASSING_CLASSES = {
    ("botocore", "HTTPClientError"),
    ("botocore", "ConnectionError"),
    ("aiohttp", "ClientError"),
    ("sql", "BucketFault"),
    ("sql", "StorageSilent"),
}
"""Package and class of the same where they have no number, in libraries that may not be installed."""

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}

TASK_WAITS = [60, 300]
"""Seconds before each further attempt of a whole task, which an unattended run makes of its own."""

GOES_ON = "then run the same command: what is written is whole, and it goes on from there"


class StorageFault(UserError):
    """The storage of a lake failed, at every attempt or for good. passes: whether it may work later."""

    def __init__(self, message: str, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes

    def __reduce__(self) -> Any:  # Prefect and Dask pickle what a task raises
        return type(self), (str(self), self.passes)


def is_replaced(error: BaseException | None) -> bool:
    """Whether a file of a bucket is another than the one that was listed: s3fs calls the device busy then."""
    return type(error).__name__ == "FileExpired"


def passes(error: BaseException) -> bool:
    """Whether the fault may be gone at the next attempt."""
    if is_replaced(error):
        return False
    if isinstance(error, StorageFault):
        return error.passes
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in PASSING
    classes = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return bool(classes & PASSING_CLASSES)


def steadily(place: str, action: str, attempt: Callable[[], Outcome]) -> Outcome:
    """attempt(), again after each of WAITS as long as its fault may pass.

    Raises StorageFault, which names the place, for what does not pass or is not gone after the last
    attempt; FileNotFoundError, and what is no fault of storage, as it is.
    """
    for number, wait in enumerate((*WAITS, None), start=1):
        try:
            return attempt()
        except FileNotFoundError:
            raise
        except Exception as error:
            may_pass = passes(error)
            if not may_pass and not (isinstance(error, OSError) and error.errno is not None):
                raise
            if not may_pass or wait is None:
                raise StorageFault(_sentence(place, action, error, number), may_pass) from error
            logger.warning("%s could not be %s (%s): again in %g s", place, action, error, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _sentence(place: str, action: str, error: Exception, attempts: int) -> str:
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{place} could not be {action}: the disk is full ({error}). Free some space, {GOES_ON}"
    often = f", {attempts} times in {sum(WAITS):.0f} s" if attempts > 1 else ""
    remedy = "Wait for the storage to answer" if passes(error) else "See to the storage, or your rights there"
    return f"{place} could not be {action} ({type(error).__name__}: {error}){often}. {remedy}, {GOES_ON}"


def _task_may_pass(task: Any, task_run: Any, state: Any) -> bool:
    return isinstance(state.data, BaseException) and passes(state.data)


RETRIED: dict[str, Any] = {
    "retries": len(TASK_WAITS),
    "retry_delay_seconds": TASK_WAITS,
    "retry_condition_fn": _task_may_pass,
}
"""Of a Prefect task: it is run again for a fault of storage that may pass, and for nothing else."""
