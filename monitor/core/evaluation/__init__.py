"""Evaluate what a poll returned against the stored state: changes and incidents."""
