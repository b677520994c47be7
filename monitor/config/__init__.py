"""
The configuration: loaded once, validated as a whole, and never changed afterwards.

``load``
    From a file or the environment to a ``Config``.
``document``
    A YAML file as a plain tree, with ``${NAME}`` replaced.
``model``, ``routes``, ``rules``, ``maintenance``, ``managed_users``, ``web``
    The sections of the configuration.
``values``, ``urls``, ``secret``, ``files``
    Single values: durations and names, addresses, secrets and where they come from.
``errors``
    One line for every error, with the key path.
"""
