"""What keeps a source that stumbles from making noise."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """
    When a problem that comes and goes is told as flapping: once, and then at its end.

    Args:
        times: how often it may come within the window before.
        quiet_for: how long it must stay away to be over.
    """

    times: int = 3
    window: timedelta = timedelta(hours=24)
    quiet_for: timedelta = timedelta(hours=6)


DEFAULT_FLAPPING = Flapping()


@dataclass(frozen=True, slots=True, kw_only=True)
class MassChange:
    """
    How many tokens of a target may get worse at once before the answer itself is doubted.

    Both must be exceeded; then nothing is said of any connection until the next poll shows the same.
    """

    share: float = 0.5
    count: int = 10


DEFAULT_MASS_CHANGE = MassChange()
