"""The rules: what counts as a problem, and how severe it is."""
