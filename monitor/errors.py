"""
Every way the monitor gives up, one error a seam.

::

    MonitorError
    ├── ConfigError      the configuration can't be used: file, key path, found, wanted
    ├── FetchError       the API gave no usable answer; carries a core Failure
    ├── DeliveryError    a channel didn't take a message; says whether trying again can help
    ├── StorageError     the history database can't be used, and what to do
    └── ExportError      an export can't be written, and where to
"""

from datetime import timedelta

from monitor.core.model import Failure


class MonitorError(Exception):
    """Something the operator is told in one line; the text never holds a secret."""


class ConfigError(MonitorError):
    """The configuration can't be used."""


class FetchError(MonitorError):
    """
    The API gave no usable answer.

    Args:
        failure: what happened, as the core understands it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error}; {failure.remedy}")
        self.failure = failure


class DeliveryError(MonitorError):
    """
    A channel didn't take a message.

    Args:
        permanent: trying again can't help (the channel is gone, its URL matches no service).
        uncertain: it may have been delivered all the same (it timed out).
        retry_after: how long the service asked us to stay away.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        uncertain: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.uncertain = uncertain
        self.retry_after = retry_after


class ExportError(MonitorError):
    """An export can't be written; of a file nothing is left."""


class StorageError(MonitorError):
    """
    The history database can't be used; the text says what to do.

    Args:
        transient: waiting may help (it is locked, full, restarting); else only a person can.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
