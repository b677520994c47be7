"""
The web door: how things stand, for people and for machines; nothing can be changed through it.

``door``
    The listening socket, and the thread behind it.
``guard``
    Who may come in, and what every answer carries.
``site``
    What is answered: the page, ``/healthz``, ``/readyz``, ``/metrics``, ``/api/…``.
``page``, ``readiness``, ``gauges``, ``api``
    One kind of answer each.
"""
