"""The history database: its tables, its migrations, and the questions asked of it."""
