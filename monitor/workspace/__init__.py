"""Managed users and their reconnect links, in the memory of this process."""
