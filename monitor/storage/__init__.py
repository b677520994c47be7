"""The history database: its tables, its migrations, and the questions asked of it."""

from monitor.storage.database import Database

__all__ = ["Database"]
