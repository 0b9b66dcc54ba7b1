"""Analyses of a trained network: its CRF's settings, its receptive field."""
