"""The history database: its tables, its migrations and its queries."""
