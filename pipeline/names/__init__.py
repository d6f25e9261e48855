"""What a model's name means: exact weights, and how fastai takes them."""
