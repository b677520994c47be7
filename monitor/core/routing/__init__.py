"""Routing: which channels are notified, in which group, and when."""
