"""Managed users and their reconnect links, as this process knows them."""
