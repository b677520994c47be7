"""Evaluation: from what is known and what a poll returned to changes and incidents."""
