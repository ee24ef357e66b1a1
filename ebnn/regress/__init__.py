"""Regression checks for firmware: a baseline file in the user's repository, and what changed.

`measure` runs what the baseline's entries name, `compare` holds it against the figures, `explain`
says where a change comes from, and the reports print it.
"""
