"""Every decision the monitor takes: pure functions over frozen values, standard library only."""
