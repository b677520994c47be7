"""Load Apprise's class for the service of a channel, instead of all two hundred."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apprise import NotifyBase

# Module, class and schemes, as in Apprise. For any other service, all classes are loaded.
_CLASSES = (
    ("apprise_api", "NotifyAppriseAPI", "apprise apprises"),
    ("bark", "NotifyBark", "bark barks"),
    ("brevo", "NotifyBrevo", "brevo"),
    ("custom_form", "NotifyForm", "form forms"),
    ("custom_json", "NotifyJSON", "json jsons"),
    ("custom_xml", "NotifyXML", "xml xmls"),
    ("discord", "NotifyDiscord", "discord"),
    ("email.base", "NotifyEmail", "mailto mailtos"),
    ("firehydrant", "NotifyFireHydrant", "firehydrant"),
    ("goalert", "NotifyGoAlert", "goalert goalerts"),
    ("google_chat", "NotifyGoogleChat", "gchat"),
    ("gotify", "NotifyGotify", "gotify gotifys"),
    ("ilert", "NotifyILert", "ilert"),
    ("incidentio", "NotifyIncidentIO", "incidentio"),
    ("jira", "NotifyJira", "jira"),
    ("mailersend", "NotifyMailerSend", "mailersend"),
    ("mailgun", "NotifyMailgun", "mailgun"),
    ("matrix.base", "NotifyMatrix", "matrix matrixs"),
    ("mattermost", "NotifyMattermost", "mmost mmosts"),
    ("nextcloudtalk", "NotifyNextcloudTalk", "nctalk nctalks"),
    ("ntfy", "NotifyNtfy", "ntfy ntfys"),
    ("office365", "NotifyOffice365", "azure o365"),
    ("opsgenie", "NotifyOpsgenie", "opsgenie"),
    ("pagerduty", "NotifyPagerDuty", "pagerduty"),
    ("pagertree", "NotifyPagerTree", "pagertree"),
    ("postmark", "NotifyPostmark", "postmark"),
    ("pushbullet", "NotifyPushBullet", "pbul"),
    ("pushover", "NotifyPushover", "pover"),
    ("resend", "NotifyResend", "resend"),
    ("rocketchat", "NotifyRocketChat", "rocket rockets"),
    ("sendgrid", "NotifySendGrid", "sendgrid"),
    ("ses", "NotifySES", "ses"),
    ("signal_api", "NotifySignalAPI", "signal signals"),
    ("signl4", "NotifySIGNL4", "signl4"),
    ("slack", "NotifySlack", "slack"),
    ("smtp2go", "NotifySMTP2Go", "smtp2go"),
    ("sns", "NotifySNS", "sns"),
    ("sparkpost", "NotifySparkPost", "sparkpost"),
    ("splunk", "NotifySplunk", "splunk victorops"),
    ("squadcast", "NotifySquadcast", "squadcast"),
    ("telegram", "NotifyTelegram", "tgram"),
    ("twilio", "NotifyTwilio", "twilio"),
    ("webexteams", "NotifyWebexTeams", "wxteams webex"),
    ("workflows", "NotifyWorkflows", "workflow workflows"),
    ("zulip", "NotifyZulip", "zulip"),
)
CLASS_OF: Mapping[str, tuple[str, str]] = {
    schema: (module, name) for module, name, schemas in _CLASSES for schema in schemas.split()
}
# Services whose webhook addresses people paste unchanged.
_WITH_WEBHOOKS = ("slack", "discord", "gchat", "workflows")


def parse_url(url: str) -> "tuple[type[NotifyBase], dict[str, Any]] | None":
    """
    Return the class of a URL, and its arguments.

    Returns:
        The class and its arguments. None if no service understands the URL.
    """
    url = url.replace("/#", "/%23")  # as Apprise does first
    schema = url.partition("://")[0].lower()
    if schema in CLASS_OF:
        found = plugin_class(schema)
        parsed = found.parse_url(url)
        return (found, parsed) if parsed else None
    if schema in {"http", "https"}:
        for service in _WITH_WEBHOOKS:
            found = plugin_class(service)
            if parsed := found.parse_native_url(url):
                return found, parsed
    with _without_deprecations():
        from apprise.plugins import N_MGR, url_to_dict

        parsed = url_to_dict(url)  # type: ignore[no-untyped-call]  # Apprise types it in part
    return (N_MGR[parsed["schema"]], parsed) if parsed else None


def plugin_class(schema: str) -> "type[NotifyBase]":
    """Load the class for one of the schemes of ``CLASS_OF``."""
    module, name = CLASS_OF[schema]
    with _without_deprecations():
        loaded: type[NotifyBase] = getattr(import_module(f"apprise.plugins.{module}"), name)
    return loaded


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Suppress the warning that Apprise's mail plugin imports a module that Python 3.11 and 3.12 deprecate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
