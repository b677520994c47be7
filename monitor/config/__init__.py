"""
The configuration: read once, checked whole, never changed afterwards.

``document``
    A YAML file as a plain tree, ``${NAME}`` replaced.
``values``, ``places``, ``secret``
    What single values may be: durations and names, addresses, secrets and where they come from.
``routes``, ``rules``, ``upkeep``, ``web``, ``workspaces``, ``model``
    The tree itself.
``complaints``, ``load``
    One line for whatever is wrong; the way from a file or the bare environment to a ``Config``.
"""
