"""Files that a configuration names: links are followed, pipes are refused, loose permissions are reported."""

import os
from pathlib import Path

import pytest

from monitor.config.load import load_config
from monitor.config.model import Config
from monitor.errors import ConfigError

KEY = "sk_abc123_0011ff.99aa88"


def write(folder: Path, text: str = "") -> Path:
    config = folder / "config.yaml"
    config.write_text(f"accounts: [{{name: a, api_key_file: key}}]\n{text}")
    return config


def load(folder: Path, *, key_mode: int = 0o600, credentials: bool = False) -> Config:
    config, key = write(folder), folder / "key"
    key.write_text(KEY)
    key.chmod(key_mode)
    return load_config(config, {"CREDENTIALS_DIRECTORY": str(folder)} if credentials else {})


@pytest.fixture(params=["fifo", "device"])
def unending(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path at which a reader would wait, or never come to an end."""
    if request.param == "device":
        return Path("/dev/zero")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    return fifo


def test_a_pipe_or_device_as_configuration_is_refused_at_once(unending: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(unending, {})
    assert str(caught.value) == (
        f"{unending}: can't be read: it is a pipe or a device; write its content to a file and name that; "
        "want a readable YAML file"
    )


def test_a_pipe_or_device_as_secret_file_is_refused_at_once(unending: Path, tmp_path: Path) -> None:
    config = write(tmp_path)
    (tmp_path / "key").symlink_to(unending)
    with pytest.raises(ConfigError, match=r"api_key_file: the file can't be read: it is a pipe or a device"):
        load_config(config, {})


def test_links_are_followed_for_configuration_and_secrets(tmp_path: Path) -> None:
    real, mounted = tmp_path / "..data", tmp_path / "mounted"
    real.mkdir()
    mounted.mkdir()
    write(real)
    (real / "key").write_text(KEY)
    for name in ("config.yaml", "key"):
        (mounted / name).symlink_to(real / name)
    (account,) = load_config(mounted / "config.yaml", {}).accounts
    assert account.api_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("mode", "warning", "note"),
    [
        pytest.param(0o600, "", "", id="owner"),
        pytest.param(0o640, "", "api_key_file: the file's group can read it; chmod 600 is safer", id="group"),
        pytest.param(
            0o644,
            "api_key_file: everyone on this machine can read the file; run chmod 600 on it",
            "",
            id="everyone",
        ),
    ],
)
def test_loose_permissions_of_a_secret_are_reported(
    tmp_path: Path, mode: int, warning: str, note: str
) -> None:
    config = load(tmp_path, key_mode=mode)
    found = [each for each in config.warnings if "the file" in each]
    assert ([warning] if warning else [], [note] if note else []) == (found, list(config.notes))


def test_permissions_of_systemd_credentials_are_not_reported(tmp_path: Path) -> None:
    config = load(tmp_path, key_mode=0o440, credentials=True)
    assert not config.notes


def test_a_relative_database_is_beside_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    config = load_config(write(tmp_path, "database: {url: 'sqlite:///data/history.db'}\n"), {})
    assert config.database.url.get_secret_value() == f"sqlite:///{tmp_path}/data/history.db"
