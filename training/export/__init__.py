"""From a training run to a SavedModel or a preset."""
