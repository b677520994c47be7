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
    from monitor.config.model import Channel, Config
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

    def config(self, *, as_daemon: bool = False) -> "Config":
        """
        Load the configuration, hide its secrets, and set up the log.

        Args:
            as_daemon: log as configured. Otherwise log only problems, for people.

        Raises:
            ConfigError: there is none, or it can't be used.
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
        return config

    def validate_channels(self, config: "Config") -> None:
        """
        Check that every channel's URL leads to a service.

        Raises:
            ConfigError: one doesn't.
        """
        from monitor.channels import check_url

        for index, channel in enumerate(config.channels):
            try:
                check_url(channel.name, channel.url.get_secret_value())
            except ConfigError as error:
                key = "POSTPOST_MONITOR_NOTIFY"
                if self._source != "environment":
                    key = f"channels[{index}].{_key(channel)}"
                raise ConfigError(f"{self._source}: {key}: {error}") from None

    def validate_templates(self, config: "Config") -> None:
        """
        Check that the channels' templates can be read.

        Raises:
            ConfigError: one can't.
        """
        from monitor.app import build_templates
        from monitor.clock import utc_now

        try:
            build_templates(config, utc_now())
        except ConfigError as error:
            raise ConfigError(f"{self._source}: {error}") from None

    def validate_routes(self, config: "Config") -> None:
        """
        Check that every incident reaches a channel, if that is configured.

        Raises:
            ConfigError: one doesn't.
        """
        from monitor.app import build_routing
        from monitor.cli.route_preview import preview_routes, refuse_unrouted

        if not config.routes or config.unrouted != "error":
            return
        try:
            refuse_unrouted(preview_routes(config, build_routing(config)))
        except ConfigError as error:
            raise ConfigError(f"{self._source}: {error}") from None

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


def _key(channel: "Channel") -> str:
    """Return the key that the channel's URL came from."""
    return "url_env" if channel.url_env else "url_file" if channel.url_file else "url"


pass_session = click.make_pass_decorator(Session)
