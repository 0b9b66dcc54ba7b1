"""The configuration of a training run as plain data: nothing here imports Keras."""
