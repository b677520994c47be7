"""
What a poll costs, beside the loop one would write instead: ``make bench``.

Every figure that counts is a ratio of two contenders that ran in turns, in one run, against one server: the
machines this runs on are shared and noisy. Each contender is a process of its own and prints its `Run` as JSON.
"""
