"""What can be set about a training run, as plain data: nothing here imports Keras."""
