"""
The web server: the state of the monitor, for people and for programs. It is read-only.

``listener``, ``server``
    The listening socket, kept open through reloads, and the HTTP server on a thread of its own.
``access``
    Which requests are allowed, and the headers of every answer.
``app``
    The routes: the page, ``/healthz``, ``/readyz``, ``/metrics``, ``/api/…``.
``status_page``, ``readiness``, ``gauges``, ``api``
    One kind of answer each.
"""
