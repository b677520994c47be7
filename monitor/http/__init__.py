"""Outgoing HTTP: the client, its deadline, proxies and errors."""
