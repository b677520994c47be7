"""
What a poll costs, beside the loop one would write instead: ``make bench``.

Every number is a ratio within one run: the machines this runs on are shared and noisy.
"""
