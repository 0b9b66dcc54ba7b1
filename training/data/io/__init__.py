"""Readers of label maps as other programs write them."""
