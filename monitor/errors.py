"""
The errors of the monitor, one for each edge.

::

    MonitorError
    ├── ConfigError      the configuration can't be used: file, key path, found, wanted
    ├── FetchError       the API gave no usable answer; carries a core Failure
    ├── DeliveryError    a channel didn't accept a message; says whether a retry can help
    ├── StorageError     the history database can't be used, and what to do
    └── ExportError      an export can't be written
"""

from datetime import timedelta

from monitor.core.model import Failure


class MonitorError(Exception):
    """An error that the operator reads as one line. The text never contains a secret."""


class ConfigError(MonitorError):
    """The configuration can't be used."""


class FetchError(MonitorError):
    """
    The API gave no usable answer.

    Args:
        failure: what happened, as the core understands it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__("; ".join(filter(None, (failure.error, failure.remedy))))
        self.failure = failure


class DeliveryError(MonitorError):
    """
    A channel didn't accept a message.

    Args:
        permanent: a retry can't help (the channel was removed, its URL matches no service).
        uncertain: the message may have arrived all the same (it timed out).
        retry_after: how long the service asked the monitor to wait.
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
    """An export can't be written. No partial file is left."""


class StorageError(MonitorError):
    """
    The history database can't be used; the text says what to do.

    Args:
        transient: waiting may help (the database is locked, full, restarting). Otherwise a person must act.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
