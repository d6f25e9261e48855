"""which-backbone: each stage of dvc.yaml is one module here, run as `python -m pipeline.<stage>`."""
