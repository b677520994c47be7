"""See daily whether the history's file is sound."""

import structlog

from monitor.jobs.context import JobContext

log = structlog.get_logger()


def check_file(context: JobContext) -> None:
    """
    Check the SQLite file, which a disk or another program may have damaged. PostgreSQL checks itself.

    A damaged file stays in use, since most of it may still work, but the monitor is not ready any more.
    """
    if damage := context.database.find_damage():
        log.critical("database.damaged", error=damage)
