"""One fine-tune: recipe, weights, learner, hardware."""
