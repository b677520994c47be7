"""Mail as mail programs want it: text and HTML from the same values, marked as automatic, threads by incident."""

import smtplib
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import TYPE_CHECKING, Any

from monitor.channels import markup
from monitor.channels.rendering import Written, being_sent
from monitor.channels.styles import plain
from monitor.clock import utc_now

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType

# More would only make the header long: mails share a thread if they share one of these.
_MOST_THREADS = 20

# Of Apprise's services for mail, those that take headers.
_TAKE_HEADERS = frozenset({"NotifyEmail", "NotifyMailgun", "NotifySMTP2Go", "NotifySparkPost"})

_POLICY = policy.SMTP.clone(cte_type="7bit")


def add_mail_headers(headers: dict[str, str], written: Written, service: "NotifyBase") -> None:
    """
    Add the headers that a mail should have beyond the usual ones; none to what isn't mail.

    ``Auto-Submitted`` keeps absence notes from answering. ``References`` names a mail that never was, one for
    each incident: mail programs put all that refers to it together.
    """
    if type(service).__name__ not in _TAKE_HEADERS:
        return
    headers["Auto-Submitted"] = "auto-generated"
    headers.pop("References", None)  # of the message before
    if threads := written.message.threads[:_MOST_THREADS]:
        headers["References"] = " ".join(f"<{name}@postpost-monitor>" for name in threads)


def use_own_mail(service: "NotifyBase") -> None:
    """
    Make Apprise's SMTP service send mails that are built here.

    Its own mails have only plain text, or HTML with text that Apprise derives from it. Signed or encrypted mails
    are left to Apprise.
    """
    if type(service).__name__ != "NotifyEmail" or getattr(service, "pgp_mode", "no") != "no":
        return

    def send(*, notify_type: "NotifyType", attach: object = None, **_: object) -> bool:
        return _send(being_sent.get(), service, str(service.color(notify_type)), with_file=bool(attach))

    vars(service)["send"] = send


def _send(written: Written, service: Any, color: str, *, with_file: bool) -> bool:
    """
    Send one mail to each recipient, as the service does.

    What goes wrong is logged in its words: from them the reason is read, here as for every other service.
    """
    from apprise.exception import AppriseImproperlyConfigured
    from apprise.plugins.email.smtp import AppriseSMTPController

    service.throttle()
    is_taken = True
    try:
        with AppriseSMTPController(
            host=service.smtp_host,
            port=service.port,
            secure_mode=service.secure_mode,
            user=service.user,
            password=service.password,
            verify_certificate=service.verify_certificate,
            socket_connect_timeout=service.socket_connect_timeout,
        ) as smtp:
            for name, address in service.targets:
                if service.is_delivered(address):
                    continue
                mail = _composed(written, service, (name, address), color=color, with_file=with_file)
                recipients = [address, *sorted((service.cc | service.bcc) - {address})]
                if smtp.sendmail(service.from_addr[1], recipients, mail.as_string()):
                    service.mark_delivered(address)
                else:
                    is_taken = False
    except (OSError, smtplib.SMTPException, RuntimeError, AppriseImproperlyConfigured) as error:
        service.logger.debug(f"Socket Exception: {error}")
        return False
    return is_taken


def _composed(
    written: Written, service: Any, to: tuple[str | bool, str], *, color: str, with_file: bool
) -> EmailMessage:
    message = written.message
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = written.title
    name, origin = service.from_addr
    mail["From"] = _address(name or service.app_id, origin)
    mail["To"] = _address(*to)
    mail["Date"] = format_datetime(utc_now())
    # The same at each attempt: many servers drop what they have already.
    mail["Message-ID"] = f"<message-{message.key}@{service.from_addr[1].rpartition('@')[2]}>"
    for header, addresses in (("Cc", service.cc - service.bcc), ("Reply-To", service.reply_to)):
        if others := sorted(addresses - {to[1]}):
            mail[header] = ", ".join(_address(service.names.get(each), each) for each in others)
    for name, value in {"X-Application": service.app_id, **service.headers}.items():
        del mail[name]
        mail[name] = value
    mail.set_content(plain(written.body_text))
    mail.add_alternative(
        markup.document(written.title, written.body_text, color=color, url=message.url), subtype="html"
    )
    if with_file and (file := message.attachment):
        kind, _, subtype = file.mime.partition("/")
        mail.add_attachment(file.content, maintype=kind, subtype=subtype, filename=file.name)
    return mail


def _address(name: str | bool | None, address: str) -> str:
    return formataddr((name if isinstance(name, str) else "", address))
