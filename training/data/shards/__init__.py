"""Datasets packed into TFRecord files."""
