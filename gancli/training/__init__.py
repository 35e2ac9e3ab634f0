"""Training: the loop and the parts of a run."""
