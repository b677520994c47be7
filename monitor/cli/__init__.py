"""
The command line: every command translates its arguments into a job, and its outcome into an exit status.

Each module has the commands of one subject, and the list below has every command. A new command takes these two
places. ``session``, ``options``, ``tables``, ``status``, ``charts``, ``live_table`` and ``pass_result`` are what
commands share: the configuration and the database, and the output.

A command imports slow libraries itself, so ``--help`` stays quick.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from monitor import __version__
from monitor.cli import check, connection_test, database, export, health, run, sandbox, show, silences
from monitor.cli.session import Session
from monitor.cli.tables import BrokenOutputError, OutputError, flush
from monitor.errors import ConfigError, MonitorError

PROGRAM = "postpost-monitor"

INTERRUPTED = 130
OUTPUT_CLOSED = 141  # the exit status of a program that SIGPIPE ended


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit status: 0 success, 1 failure, 2 usage or configuration error. "
    "check-health uses its own codes; see its --help.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration file. Defaults to $POSTPOST_MONITOR_CONFIG, ./config.yaml or "
    "/etc/postpost-monitor/config.yaml. Without a file, settings come from POSTPOST_API_KEY.",
)
@click.option("--debug", is_flag=True, help="Log everything, and show a traceback on failure.")
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_obj
def cli(session: Session, config_file: Path | None, debug: bool) -> None:
    """Monitor the OAuth tokens of social accounts connected to PostPost."""
    session.config_file = config_file
    session.debug = debug


for _command in (
    run.run,
    run.poll,
    show.status,
    show.history,
    show.incidents,
    silences.ack,
    silences.silence,
    show.deliveries,
    export.export,
    connection_test.run_test,
    health.check_health,
    check.check_config,
    check.send_test_messages,
    database.db,
    database.erase,
    sandbox.sandbox,
    sandbox.demo,
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Every error is one line on standard error."""
    _ensure_std_streams()
    _escape_unencodable()
    session = Session()
    try:
        status = cli.main(args, prog_name=PROGRAM, obj=session, standalone_mode=False)
        flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else PROGRAM
        return _print_error(session, f"{error.format_message()} See '{path} --help'.", error.exit_code)
    except click.ClickException as error:
        return _print_error(session, error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (BrokenOutputError, BrokenPipeError):
        _discard_output()
        return OUTPUT_CLOSED
    except SystemExit as end:  # click's error if the reader of its help is gone
        return end.code if isinstance(end.code, int) else 1
    except OutputError as error:
        _discard_output()
        return _print_error(session, str(error), 1)
    except ConfigError as error:
        return _print_error(session, str(error), 2)
    except (MonitorError, OSError) as error:
        return _print_error(session, str(error), 1)
    except Exception as error:  # noqa: BLE001 - an error of the monitor is also one line
        what = f"{type(error).__name__}: {error}"
        return _print_error(session, f"this is a bug in the monitor, please report it: {what}", 1)
    return status if isinstance(status, int) else 0


def _print_error(session: Session, text: str, status: int) -> int:
    from monitor.core.text import one_line
    from monitor.logs import scrub

    if session.debug:
        import traceback

        click.echo(scrub(traceback.format_exc()), err=True, nl=False)
    click.echo(f"{PROGRAM}: {one_line(scrub(text), 1000)}", err=True)
    return status


def _discard_output() -> None:
    """Discard pending output. Otherwise the interpreter complains at its end and changes the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ensure_std_streams() -> None:
    """
    Open the null device for each closed standard stream. Otherwise the next file, a database, would get its
    number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _escape_unencodable() -> None:
    """Write characters that the terminal's encoding lacks as escapes, rather than fail on a name."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
