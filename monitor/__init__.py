"""
Monitor the OAuth tokens of social accounts connected to PostPost, and alert before they expire.

The map, from the entry points down. A module imports only what stands below it.

``cli``, ``daemon``, ``web``
    The entry points. They translate arguments, ticks, signals and requests into jobs. ``daemon`` also reports
    the monitor's own state to systemd, to the heartbeat service and to channels that ask for notices.
``app``
    The composition root: it builds the database, the providers, the channels and the clock.
``workers``
    The thread pools: many threads fetch and one records, one sender for each channel, and a liveness check.
``jobs``
    One pass of work each: sync targets and workspaces, poll, test connections, reevaluate, remind, deliver, prune.
``workspace``, ``rate_limits``, ``heartbeat``
    What jobs share while the process runs: managed users and their reconnect links, the requests that each
    key has left, and the ping to a service that alerts when the monitor stops.
``config``, ``providers``, ``channels``, ``storage``, ``metrics``, ``logs``
    The edges: one outside system each.
``http``
    Outgoing HTTP: the client, its deadline, proxies and errors.
``errors``, ``clock``, ``api_clocks``, ``signals``
    What every module above may use.
``core``
    Every decision, pure: no input, no output, no clock.
``sandbox``
    Beside the product: a stand-in for the API, and the demo.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("postpost-monitor")
except PackageNotFoundError:  # a bare checkout on the path
    __version__ = "0+unknown"
