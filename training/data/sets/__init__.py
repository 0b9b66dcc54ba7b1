"""Datasets of files, each in the layout in which it is published."""
