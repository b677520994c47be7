"""When to poll and when to retry."""
