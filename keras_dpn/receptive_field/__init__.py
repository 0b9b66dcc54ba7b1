"""What a unit of a network sees: in theory, by the windows below it, and in fact, by experiment."""

from keras_dpn.receptive_field.theoretical import (
    Field,
    discrepancy_map,
    effective_field,
    looks_at,
    map_size,
    theoretical_field,
)

__all__ = [
    "Field",
    "discrepancy_map",
    "effective_field",
    "looks_at",
    "map_size",
    "theoretical_field",
]
