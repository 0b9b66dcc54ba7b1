"""Scores of trained networks and their comparison."""
