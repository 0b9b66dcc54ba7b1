"""The directory of a training run: what its files are called and how they are read."""
