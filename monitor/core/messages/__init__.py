"""The text of every message that leaves the monitor."""
