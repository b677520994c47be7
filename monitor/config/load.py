"""Load the configuration from a file or from the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_state_path
from pydantic import ValidationError

from monitor.config.document import Tree, expand, read_document
from monitor.config.errors import explain, shown_key
from monitor.config.model import Config
from monitor.config.urls import sqlite_url
from monitor.config.values import LoadContext
from monitor.errors import ConfigError
from monitor.providers import PROVIDERS

LOCAL_CONFIG = Path("config.yaml")
SYSTEM_CONFIG = Path("/etc/postpost-monitor/config.yaml")
CONFIG_VARIABLE = "POSTPOST_MONITOR_CONFIG"

# The vendor's own samples for PostPost read the key from PUBLORA_API_KEY, so its name doesn't show the brand.
KEY_VARIABLES = tuple(provider.key_variable for provider in PROVIDERS.values())
_VARIABLES = {
    "accounts[0].provider": "POSTPOST_MONITOR_PROVIDER",
    "accounts[0].base_url": "POSTPOST_MONITOR_BASE_URL",
    "database.url_env": "POSTPOST_MONITOR_DATABASE_URL",
    "channels": "POSTPOST_MONITOR_NOTIFY",
}


def find_config(
    option: Path | None,
    environ: Mapping[str, str],
    *,
    local: Path = LOCAL_CONFIG,
    system: Path = SYSTEM_CONFIG,
) -> Path | None:
    """
    Return the configuration file: from the option, the environment, this folder, the system, or None.

    Raises:
        ConfigError: a named file doesn't exist.
    """
    variable = environ.get(CONFIG_VARIABLE)
    named, by = (option, "--config") if option else (Path(variable) if variable else None, CONFIG_VARIABLE)
    if named:
        if not _is_there(named):
            raise ConfigError(f"{_shown(named)}: no such file, though {by} names it; want an existing file")
        return named
    return next((path for path in (local, system) if _is_there(path)), None)


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """
    Read the configuration from a file, or from the environment alone. Nothing is written.

    Raises:
        ConfigError: one line with file, key path, value found and value wanted.
    """
    if path is None:
        return _from_environment(environ)
    return parse_config(read_document(path), environ, source=_shown(path), folder=path.parent)


def parse_config(
    tree: Mapping[str, Tree],
    environ: Mapping[str, str],
    *,
    source: str = "configuration",
    folder: Path = Path(),
) -> Config:
    """
    Validate a plain tree as a configuration.

    Args:
        source: the beginning of error texts.
        folder: where relative names of files start.

    Raises:
        ConfigError: one line with source, key path, value found and value wanted.
    """
    config, problem = _parse(tree, LoadContext(environ=environ, folder=folder))
    if config is None:
        raise ConfigError(f"{source}: {problem}")
    return config


def _parse(raw: Mapping[str, Tree], context: LoadContext) -> tuple[Config | None, str]:
    """Return the configuration or an error of our own: pydantic's errors contain the values."""
    try:
        tree = expand(raw, context.environ)
        assert isinstance(tree, dict)
        # systemd gives several directories separated by colons; the first is the unit's own.
        given = context.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        folder = Path(given) if given else user_state_path("postpost-monitor", appauthor=False)
        tree.setdefault("database", {"url": sqlite_url(str(folder / "history.db"))})
        return Config.model_validate(tree, context=context), ""
    except ConfigError as error:
        return None, str(error)
    except ValidationError as error:
        return None, explain(error, raw)


def _from_environment(environ: Mapping[str, str]) -> Config:
    variable = next((name for name in KEY_VARIABLES if environ.get(name, "").strip()), None)
    if variable is None:
        raise ConfigError(
            "no configuration: found neither a config.yaml nor POSTPOST_API_KEY in the environment; set "
            "POSTPOST_API_KEY or name a file with --config ('postpost-monitor demo' needs neither)"
        )
    account: dict[str, Any] = {"name": "default", "api_key_env": variable}
    if provider := environ.get("POSTPOST_MONITOR_PROVIDER"):
        account["provider"] = _literal(provider)
    if base_url := environ.get("POSTPOST_MONITOR_BASE_URL"):
        account["base_url"] = _literal(base_url)
    tree: dict[str, Any] = {"accounts": [account]}
    if environ.get("POSTPOST_MONITOR_DATABASE_URL"):
        tree["database"] = {"url_env": "POSTPOST_MONITOR_DATABASE_URL"}
    # A URL that is listed twice would get everything twice.
    urls = dict.fromkeys(environ.get("POSTPOST_MONITOR_NOTIFY", "").split())
    tree["channels"] = [
        {"name": f"notify-{number}", "url": _literal(url)} for number, url in enumerate(urls, start=1)
    ]
    config, problem = _parse(tree, LoadContext(environ=environ))
    if config is None:
        # There is no file: an error names the variable in place of the key.
        for key, name in {**_VARIABLES, "accounts[0].api_key_env": variable}.items():
            if problem.startswith(key):
                problem = f"{name}: {problem.partition(': ')[2]}"
                break
        raise ConfigError(f"environment: {problem}")
    return config


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True  # it may exist: reading it gives the reason why it can't be read
    return True


def _shown(path: Path) -> str:
    return shown_key(str(path), limit=200)
