"""Theoretical and effective receptive fields of a network's units."""

from keras_dpn.receptive_field.discrepancy import discrepancy_map, effective_field
from keras_dpn.receptive_field.field import Field
from keras_dpn.receptive_field.layer_spans import looks_at
from keras_dpn.receptive_field.theoretical import map_size, theoretical_field

__all__ = [
    "Field",
    "discrepancy_map",
    "effective_field",
    "looks_at",
    "map_size",
    "theoretical_field",
]
