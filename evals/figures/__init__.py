"""Figures with intervals from the rows of a run, and the difference between two runs."""
