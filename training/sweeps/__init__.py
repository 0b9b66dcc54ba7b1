"""Ablations: several training runs, planned, trained and scored together."""
