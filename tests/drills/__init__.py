"""
Drills: the real daemon, and what may befall it; each ends by comparing what was told with what happened.

``./run drill`` runs them all, ``./run drill NAME…`` those named; the quickest are in the tests, too.
"""
