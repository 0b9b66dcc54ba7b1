"""Datasets of generated images, which need no files."""
