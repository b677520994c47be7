"""The README: its service example works with the credentials that it hands to the unit."""

import re
from pathlib import Path

from monitor.channels import check_url
from monitor.cli import cli
from monitor.config.load import load_config

README = (Path(__file__).parent.parent / "README.md").read_text()
UNIT = (Path(__file__).parent.parent / "systemd" / "postpost-monitor.service").read_text()
SECRETS = {"postpost-key": "sk_abc123_0011ff.99aa88", "ops-url": "json://127.0.0.1:9/"}


def block(language: str, containing: str) -> str:
    """Return the code block of a language that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    (found,) = (text for text in blocks if containing in text)
    return str(found)


def test_the_service_example_loads_with_the_credentials_of_its_unit(tmp_path: Path) -> None:
    drop_in = block("ini", "LoadCredential")
    for name in re.findall(r"LoadCredential=([^:]+):/etc/postpost-monitor/secrets/\1\n", drop_in):
        (tmp_path / name).write_text(SECRETS[name])
    file = tmp_path / "config.yaml"
    file.write_text(block("yaml", "accounts:"))
    # The unit's environment holds nothing that a configuration could refer to but this directory.
    config = load_config(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (account,), (channel,) = config.accounts, config.channels
    assert account.api_key.get_secret_value() == SECRETS["postpost-key"]
    check_url(channel.name, channel.url.get_secret_value())
    assert not config.warnings and not config.notes


def test_the_service_example_stays_inside_what_the_unit_may_write() -> None:
    url = re.search(r"url: sqlite:///(/\S+)", block("yaml", "accounts:"))
    assert url and "StateDirectory=postpost-monitor\n" in UNIT
    assert Path(url[1]).parent == Path("/var/lib/postpost-monitor")


def test_the_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"postpost-monitor (?:--config \S+ )?([a-z][a-z-]+)", README))
    commands = named - {"is", "python3", "start", "systemd"}
    assert {"run", "poll", "status", "history", "incidents", "deliveries", "export"} <= commands
    assert commands <= set(cli.commands)
