"""
A stand-in for the PostPost API on loopback, for tests, demonstrations and trying things out.

It stands beside the house and shares nothing with the provider that reads it: both are readings of the same
documents, so where they disagree a test can tell.

``world``
    What the service knows: keys, managed users, linked profiles. Changed at any time, from any thread.
``profiles``
    One linked profile, and what the API says of it.
``samples``
    Worlds to begin with.
``gate``
    Who may ask: the table of refusals, and the rate limit.
``faults``
    How an answer goes wrong on its way.
``api``, ``control``
    The vendor's endpoints, and the sandbox's own for changing the world.
``server``
    Serves a world over HTTP.
"""
