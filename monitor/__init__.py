"""
Monitors the tokens of social accounts connected to PostPost and alerts whoever must reconnect one.

The map, from the entry points down; a module imports only what stands below it:

``cli``, ``daemon``, ``web``
    The entry points: arguments, ticks, signals and requests, translated into jobs. ``daemon`` also reports
    the monitor's own state to systemd, to the heartbeat service and to channels that asked for notices.
``app``
    The composition root: it builds the database, the providers, the channels and the clock.
``workers``
    The jobs on threads: many fetch and one records, many send, and liveness tells whether all of them move.
``jobs``
    One pass of work each: sync targets and workspaces, poll, test connections, reevaluate, remind, deliver, prune.
``workspace``, ``rate_limits``, ``heartbeat``
    What jobs share while the process lives: managed users and their reconnect links, the requests that each
    key has left, and the ping to a service that notices when the monitor stops.
``config``, ``providers``, ``channels``, ``storage``, ``metrics``, ``logs``
    The edges: one outside system each.
``http``
    Any HTTP that goes out: the client, its deadline, proxies and errors.
``errors``, ``clock``, ``api_clocks``, ``signals``
    What everything else may use.
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
