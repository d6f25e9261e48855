"""The list of models that `python -m pipeline.models` shows."""
