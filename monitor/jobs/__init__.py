"""One pass of work each, run as ``job(context)``; ``context`` and ``incident_changes`` are what jobs share."""
