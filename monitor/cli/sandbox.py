"""sandbox, demo: run the monitor without an account."""

import click

from monitor.cli.tables import print_line


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port. 0, the default, picks a free one."
)
@click.option(
    "--speed",
    type=click.FloatRange(0, 1_000_000, min_open=True),
    default=1.0,
    help="How many times faster its data ages.",
)
@click.option(
    "--contract",
    type=click.Choice(["seed", "2026"]),
    default="seed",
    help="How the API reports tokens: by their dates, or as Publora does since August 2026.",
)
def sandbox(port: int, speed: float, contract: str) -> None:
    """Serve a stand-in for the PostPost API until Ctrl-C."""
    from monitor.clock import utc_now
    from monitor.sandbox.clock import FastClock
    from monitor.sandbox.fake_service import FakeService
    from monitor.sandbox.profiles import Contract
    from monitor.sandbox.samples import fill_sample
    from monitor.sandbox.server import run

    try:
        clock = FastClock(speed, utc_now())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    fake_service = FakeService(clock, contract=Contract(contract))
    fill_sample(fake_service)
    run(fake_service, port, _announce)


@click.command()
def demo() -> None:
    """
    Show a token's full lifecycle, simulated in about a minute.

    Needs no key and no account, and leaves nothing behind.
    """
    from monitor.sandbox.demo import run_demo

    run_demo()


def _announce(url: str) -> None:
    import sys

    from monitor.sandbox.program_name import program
    from monitor.sandbox.samples import SANDBOX_KEY

    print_line(f"The sandbox answers at {url}; ctrl-c ends it. Its key:")
    print_line(f"  {SANDBOX_KEY}")
    print_line("In another terminal, in a folder without a config.yaml:")
    print_line(
        f"  POSTPOST_API_KEY={SANDBOX_KEY} POSTPOST_MONITOR_BASE_URL={url} "
        f"POSTPOST_MONITOR_DATABASE_URL=sqlite:///sandbox.db {program()} poll"
    )
    sys.stdout.flush()
