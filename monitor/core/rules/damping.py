"""How to avoid alerts about problems that come and go."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """
    When a problem that comes and goes is flapping: one alert, and one at its end.

    Args:
        times: how often it may open within the window before that.
        quiet_for: how long it must stay quiet to resolve.
    """

    times: int = 3
    window: timedelta = timedelta(hours=24)
    quiet_for: timedelta = timedelta(hours=6)


DEFAULT_FLAPPING = Flapping()


@dataclass(frozen=True, slots=True, kw_only=True)
class MassChange:
    """
    How many tokens of a target may get worse at once before the answer is suspicious.

    Both must be exceeded. No connection is then reported until the next poll confirms it.
    """

    share: float = 0.5
    count: int = 10


DEFAULT_MASS_CHANGE = MassChange()
