"""The fan-out: what is stale, run many at a time, committed to DVC in batches."""
