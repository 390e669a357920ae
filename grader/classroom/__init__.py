"""Grades a whole class: python3 -m grader class SUBMISSIONS (see `command`)."""
