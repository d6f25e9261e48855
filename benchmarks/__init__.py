"""Times and counts of this project, by hand: `python -m benchmarks.NAME`."""
