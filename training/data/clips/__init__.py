"""Datasets of video clips and their optical flow."""
