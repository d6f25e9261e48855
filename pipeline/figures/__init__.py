"""matplotlib figures of the tables."""
