"""From examples to batches: augmentation, padding, caching."""
