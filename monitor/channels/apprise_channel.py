"""One channel: an Apprise service that is given one message at a time, and only so much time."""

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from datetime import UTC, timedelta, tzinfo
from threading import Lock, Thread
from typing import TYPE_CHECKING

from monitor.channels.apprise_log import capture_log
from monitor.channels.attachment_file import attachment_file
from monitor.channels.delivery_errors import BUSY, delivery_error
from monitor.channels.limits import body_limit, title_limit
from monitor.channels.mail import add_mail_headers
from monitor.channels.rendering import being_sent, written
from monitor.channels.services import open_service
from monitor.channels.wire import UNCOUNTED, Traffic, count_served, counting
from monitor.core.messages.message import Message
from monitor.core.model import Severity
from monitor.errors import DeliveryError

if TYPE_CHECKING:
    from apprise import Apprise, NotifyBase

KEY_HEADER = "X-Idempotency-Key"

_MESSAGES_REMEMBERED = 100

_KINDS = {
    Severity.CRITICAL: "failure",
    Severity.WARNING: "warning",
    Severity.NOTICE: "info",
    None: "success",
}


class AppriseChannel:
    """
    A named Apprise URL.

    Apprise can't end an attempt that hangs. Abandoned attempts block its few worker threads and the end of the
    process. So each attempt has its own daemon thread, and a channel has at most one. While an abandoned attempt
    lasts, the channel accepts nothing new.

    Args:
        sender: names the sender if the URL names none; empty for the monitor.
        refuses: returns whether the body of a successful answer reports an error.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        allow_reconnect_links: bool,
        timeout: timedelta,
        time_zone: tzinfo = UTC,
        sender: str = "",
        refuses: Callable[[bytes], bool] = lambda body: False,
    ) -> None:
        self.name = name
        self.allow_reconnect_links = allow_reconnect_links
        self.time_zone = time_zone
        self._url = url
        self._sender = sender
        self._refuses = refuses
        self._timeout = timeout.total_seconds()
        self._busy = Lock()
        self._abandoned = False
        self._opening = Lock()
        self._opened: tuple[Apprise, NotifyBase] | None = None
        self._accepted = _AcceptedRecipients()

    def __repr__(self) -> str:
        return f"AppriseChannel({self.name!r})"

    @property
    def service(self) -> str:
        opened = self._open()
        return opened[1].schema if opened else "unknown"

    @property
    def body_limit(self) -> int | None:
        opened = self._open()
        return body_limit(opened[1]) if opened else None

    @property
    def title_limit(self) -> int:
        opened = self._open()
        return title_limit(opened[1]) if opened else 0

    @property
    def takes_attachments(self) -> bool:
        opened = self._open()
        if opened is None or not opened[1].attachment_support:
            return False
        # A Slack bot takes files. For a webhook, Apprise drops them.
        return opened[1].schema != "slack" or getattr(opened[1], "mode", "") == "bot"

    def send(self, message: Message, *, prepare: "Callable[[NotifyBase], None] | None" = None) -> None:
        """
        Hand over one message, within the channel's time.

        A message that was refused by some recipients, or timed out, and comes again under the same key spares
        those that had taken it, as long as the process lives.

        Args:
            prepare: called with the service right before the message is sent, in the thread that sends it.

        Raises:
            DeliveryError: permanent where the channel is gone, uncertain where the message may have arrived.
        """
        gives_up_at = time.monotonic() + self._timeout
        if not self._busy.acquire(timeout=0 if self._abandoned else self._timeout):
            raise DeliveryError("the previous message is still being sent")
        answer: Future[DeliveryError | None] = Future()
        try:
            Thread(
                target=self._run, args=(message, prepare, answer), name=f"channel {self.name}", daemon=True
            ).start()
        except RuntimeError:
            self._busy.release()
            raise DeliveryError("no thread is available") from None
        try:
            refused = answer.result(timeout=max(gives_up_at - time.monotonic(), 0))
        except TimeoutError:
            self._abandoned = True
            if answer.cancel():
                raise DeliveryError(f"no response within {self._timeout:g} s", uncertain=True) from None
            self._abandoned = False
            refused = answer.result()
        if refused:
            raise refused

    def _run(
        self,
        message: Message,
        prepare: "Callable[[NotifyBase], None] | None",
        answer: "Future[DeliveryError | None]",
    ) -> None:
        try:
            refused = self._attempt(message, prepare)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the URL
            refused = DeliveryError(f"Apprise failed: {type(error).__name__}")
        try:
            answer.set_result(refused)
        except InvalidStateError:  # abandoned: the recipients that accepted the message stay known
            self._abandoned = False
        else:
            if refused is None:
                self._accepted.forget(message.key)
        finally:
            self._busy.release()

    def _attempt(
        self, message: Message, prepare: "Callable[[NotifyBase], None] | None"
    ) -> DeliveryError | None:
        opened = self._open()
        if opened is None:
            return DeliveryError("Apprise can't use the channel's URL", permanent=True)
        from apprise import NotifyFormat, NotifyType

        apprise, service = opened
        self._accepted.start_message(message.key)
        last = written(message, service)
        being_sent.set(last)
        headers = vars(service).get("headers")
        if isinstance(headers, dict):  # json, form, xml and mail can carry the key where a program reads it
            headers[KEY_HEADER] = message.key
            add_mail_headers(headers, last, service)
        if prepare:
            prepare(service)
        was_known = self._accepted.has_message(message.key)
        carried = message.attachment if self.takes_attachments else None
        with attachment_file(carried) as attach, capture_log() as lines, counting() as traffic:
            result = apprise.notify(
                last.body,
                title=last.title,
                notify_type=NotifyType(_KINDS[message.severity]),
                body_format=NotifyFormat(last.target),
                interpret_escapes=False,
                attach=attach,
            )
        if result:
            unsent = None if was_known else self._unsent(service, traffic)
            if unsent:  # or it would be taken for delivered when it is tried again
                self._accepted.forget(message.key)
            return unsent
        refused = delivery_error(service.schema, lines)
        if refused.retry_after is None and traffic.answers and traffic.answers[-1].status in BUSY:
            refused.retry_after = traffic.answers[-1].retry_after
        # Taken by some and not by all: only under the same key are those spared that have it.
        refused.uncertain = refused.uncertain or self._accepted.has_message(message.key)
        return refused

    def _unsent(self, service: "NotifyBase", traffic: Traffic) -> DeliveryError | None:
        """Return why a reported success was none; None if it was one."""
        if traffic.is_empty and service.schema not in UNCOUNTED:
            return DeliveryError(f"{service.schema}: Apprise reports success, but nothing was sent")
        if traffic.answers and self._refuses(traffic.answers[-1].body):
            status = traffic.answers[-1].status
            return DeliveryError(
                f"{service.schema}: HTTP {status}, but the response says that it was not accepted"
            )
        return None

    def _open(self) -> "tuple[Apprise, NotifyBase] | None":
        with self._opening:
            if self._opened is None and (apprise := open_service(self._url, self._sender)):
                service = apprise[0]
                # Plugins ask these two before and after each recipient; their own forget with the attempt.
                vars(service).update(
                    is_delivered=self._accepted.is_delivered, mark_delivered=self._accepted.mark_delivered
                )
                self._opened = apprise, service
            return self._opened


class _AcceptedRecipients:
    """
    The recipients that accepted a message that others refused, so that a retry doesn't send it to them twice.

    A delivered message is forgotten. One whose attempt was abandoned and then succeeded stays known, so it isn't
    sent again.
    """

    def __init__(self) -> None:
        self._by: dict[str, set[str]] = {}
        self._key = ""

    def start_message(self, key: str) -> None:
        """Set the current message. A channel sends one at a time."""
        self._key = key

    def is_delivered(self, recipient: object, per_message: bool = False) -> bool:
        return repr(recipient) in self._by.get(self._key, ())

    def mark_delivered(self, recipient: object, per_message: bool = False) -> None:
        if type(recipient) is not object:  # by which Apprise itself marks that the plugin reported success
            count_served()
        self._by.setdefault(self._key, set()).add(repr(recipient))
        if len(self._by) > _MESSAGES_REMEMBERED:
            self._by.pop(next(iter(self._by)))

    def has_message(self, key: str) -> bool:
        return bool(self._by.get(key))

    def forget(self, key: str) -> None:
        self._by.pop(key, None)
