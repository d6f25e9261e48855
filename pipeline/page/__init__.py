"""The report's words, tables and interactive charts."""
