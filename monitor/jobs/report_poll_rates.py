"""Log how often targets are polled, if that isn't as often as configured."""

import structlog

from monitor.jobs.context import JobContext

log = structlog.get_logger()


def report_poll_rates(context: JobContext) -> None:
    """Log each account whose poll rate became limited by its key, or is as configured again."""
    for rate in context.rate_limits.changed_rates():
        about = {
            "account": rate.account,
            "targets": rate.targets,
            "requests_per_minute": rate.per_minute,
            "wanted_seconds": round(rate.every.total_seconds()),
            "kept_seconds": round(rate.effective_interval.total_seconds()),
        }
        if rate.is_limited:
            log.warning("poll_rate.limited", **about)
        else:
            log.info("poll_rate.restored", **about)
