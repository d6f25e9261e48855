"""which-backbone: each stage of dvc.yaml is a module here: `python -m pipeline.<stage>`."""
