"""Training: the loop over stages, optimisers, checkpoints."""
