"""The long-running process: it schedules the jobs, handles signals and reports its own state."""
