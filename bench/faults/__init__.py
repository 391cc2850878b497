"""Exactly once, put to the test: `python -m bench faults`."""
