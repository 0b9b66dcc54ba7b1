"""Training, evaluating and looking at the networks of keras_dpn, run from the repository."""

import os

# Before TensorFlow is imported: its errors reach Python as exceptions anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
