"""Readers of label maps and flow in the formats of other programs."""
