"""This machine's own speed: how one model is timed, and the tables in timm's format."""
