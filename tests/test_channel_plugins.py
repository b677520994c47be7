"""A channel loads the one class of Apprise that it needs, and the same that Apprise would have chosen."""

import subprocess
import sys

import pytest

from monitor.channels.plugins import CLASS_OF, parse_url, plugin_class
from tests.test_channels_hostile import SERVICES

PASTED = {
    "slack": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "discord": "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "gchat": "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k&token=t",
    "workflow": (
        "https://prod-1.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64/triggers/manual/"
        "paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebWbDGYFr0z0eu"
    ),
}

# How many of Apprise's parts for services a process has loaded after opening channels.
LOADED = """
import sys
from monitor.channels.services import open_service
for url in sys.argv[1:]:
    assert open_service(url), url
print(len([name for name in sys.modules if name.startswith("apprise.plugins.") and name.count(".") == 2]))
"""


@pytest.fixture(autouse=True)
def _everything_is_loaded() -> None:
    parse_url("nosuch://anything")


def test_every_scheme_leads_to_the_class_that_apprise_itself_has_for_it() -> None:
    from apprise.plugins import N_MGR

    assert {schema: N_MGR[schema] for schema in CLASS_OF} == {
        schema: plugin_class(schema) for schema in CLASS_OF
    }


@pytest.mark.parametrize("url", [*SERVICES.values(), *PASTED.values()])
def test_a_url_is_read_as_apprise_itself_reads_it(url: str) -> None:
    from apprise.plugins import N_MGR, url_to_dict

    found, parsed = parse_url(url) or (None, {})
    expected = url_to_dict(url)  # type: ignore[no-untyped-call]  # Apprise types it in part
    assert (found, parsed) == (N_MGR[expected["schema"]], expected)


@pytest.mark.parametrize(("urls", "at_most"), [([SERVICES["slack"]], 3), (list(PASTED.values()), 6)])
def test_opening_a_channel_loads_few_of_apprises_classes(urls: list[str], at_most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED, *urls],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert int(done.stdout) <= at_most
