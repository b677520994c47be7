"""What commands share: the global options, the configuration, the database."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from monitor.config.model import Config
    from monitor.storage.database import Database
    from monitor.storage.store import Store


class NoHistoryError(StorageError):
    """There is no history yet."""


class Session:
    """
    One run of the program.

    Attributes:
        config_file: the value of ``--config``.
        debug: whether to log everything and show tracebacks.
    """

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.debug = False
        self._secrets: frozenset[str] = frozenset()
        self._source = ""

    def config(self, *, as_daemon: bool = False, account: str | None = None) -> "Config":
        """
        Load the configuration, hide its secrets, and set up the log.

        Args:
            as_daemon: log as configured. Otherwise log only problems, for people.
            account: one that must be configured.

        Raises:
            ConfigError: there is none, it can't be used, or it has no such account.
        """
        from monitor.config.load import find_config, load_config
        from monitor.logs import configure_logs

        path = find_config(self.config_file, os.environ)
        config = load_config(path, os.environ)
        self._source = str(path) if path else "environment"
        # Secrets of an earlier configuration stay hidden, because its daemon may still be logging.
        self._secrets |= config.secrets()
        level = config.log.level if as_daemon else "warning"
        configure_logs(
            format=config.log.format if as_daemon else "console",
            level="debug" if self.debug else level,
            secrets=self._secrets,
            stream=sys.stderr,
        )
        names = [each.name for each in config.accounts]
        if account is not None and account not in names:
            raise ConfigError(f"--account: no account {account!r}; want one of {', '.join(names)}")
        return config

    def validate(self, config: "Config") -> None:
        """
        Check the channels' URLs and templates.

        Raises:
            ConfigError: a URL leads to no service, or a template can't be read.
        """
        from monitor.app import build_templates
        from monitor.channels import check_url
        from monitor.clock import utc_now

        for index, channel in enumerate(config.channels):
            key = "url_env" if channel.url_env else "url_file" if channel.url_file else "url"
            key = f"channels[{index}].{key}"
            if self._source == "environment":
                key = "POSTPOST_MONITOR_NOTIFY"
            with self._naming_source(f"{key}: "):
                check_url(channel.name, channel.url.get_secret_value())
        with self._naming_source():
            build_templates(config, utc_now())

    def validate_routes(self, config: "Config") -> None:
        """
        Check that every incident reaches a channel, if that is configured.

        Raises:
            ConfigError: one doesn't.
        """
        from monitor.app import build_routing
        from monitor.cli.route_preview import preview_routes, refuse_unrouted

        if config.routes and config.unrouted == "error":
            with self._naming_source():
                refuse_unrouted(preview_routes(config, build_routing(config)))

    @contextmanager
    def _naming_source(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{self._source}: {key}{error}") from None

    def warn(self, config: "Config") -> None:
        """Print the warnings of the configuration."""
        from monitor.core.text import one_line

        for warning in config.warnings:
            click.echo(f"postpost-monitor: warning: {one_line(warning)}", err=True)

    @contextmanager
    def open_database(self, config: "Config | None" = None) -> "Iterator[Database]":
        """
        Open the existing history database. Creates and migrates nothing.

        Raises:
            NoHistoryError: there is none yet.
            StorageError: its schema isn't the one that this program reads.
        """
        from monitor.storage.database import Database
        from monitor.storage.migrate import HEAD

        config = config or self.config()
        database = Database(config.database.url.get_secret_value())
        try:
            found = database.current_revision()
            if found is None:
                raise NoHistoryError("no history yet: run `postpost-monitor poll` or `run` first")
            if found != HEAD:
                raise StorageError(
                    f"{database.display_name} has schema {found}, this program needs {HEAD}; "
                    "run `postpost-monitor db upgrade`"
                )
            yield database
        finally:
            database.close()

    @contextmanager
    def history(self, *, as_json: bool = False) -> "Iterator[Store | None]":
        """
        Open one reading transaction on the history.

        Args:
            as_json: if there is no history yet, yield None and print a note instead of failing.
        """
        try:
            with self.open_database() as database, database.read() as store:
                yield store
        except NoHistoryError as error:
            if not as_json:
                raise
            click.echo(f"postpost-monitor: {error}", err=True)
            yield None


pass_session = click.make_pass_decorator(Session)
