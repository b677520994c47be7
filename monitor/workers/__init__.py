"""Thread pools for the jobs: a poller, a sender, and a liveness check for both."""
