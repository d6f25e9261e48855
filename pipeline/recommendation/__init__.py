"""The parts of `pipeline.recommend`: limits, the choice, the next experiment, and a prior."""
