"""Grades a submission: python3 -m grader ID.zip (see `__main__`). Standard library only."""
