"""
Watches the tokens of social accounts connected to PostPost and tells who must reconnect what.

The map, from the doors down to the floor; a module imports only what stands below it:

``cli``, ``daemon``, ``web``
    The doors: argv, ticks, signals and requests, translated into jobs.
``cycles``
    What a daemon says of itself: to systemd, to a dead-man's switch, to whoever asked for notices.
``app``
    The one place that builds things: database, providers, channels, clock.
``pipeline``, ``sending``
    Jobs on threads: many fetch and one records; many send.
``jobs``
    One pass of work each: discover, survey, poll, probe, review, remind, deliver, prune.
``budgets``, ``roster``, ``links``, ``dead_man``
    What jobs share while the process lives: the requests of each key, the links of managed users, the
    switch that somebody else watches.
``config``, ``providers``, ``channels``, ``templates``, ``storage``, ``metrics``, ``systemd``, ``logs``
    The edges: one outside system each.
``errors``, ``clock``, ``api_clocks``, ``progress``, ``signals``, ``lanes``
    The floor.
``core``
    Every decision, pure: no input, no output, no clock.
``sandbox``
    Beside the house: a stand-in for the API, and the demo.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("postpost-monitor")
except PackageNotFoundError:  # a bare checkout on the path
    __version__ = "0+unknown"
