"""Presets, trained networks: those in the package, and functions to find and write others."""

from keras_dpn.presets.files import Card, write_preset
from keras_dpn.presets.source import PresetInfo, available, find

__all__ = ["Card", "PresetInfo", "available", "find", "write_preset"]
