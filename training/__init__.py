"""Training, evaluating and looking at the networks of keras_dpn, run from the repository."""
