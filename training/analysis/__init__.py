"""Analyses of a trained network: settings of its CRF, receptive fields."""
