"""Checks of the arguments of a `PiecewiseCRF`."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

from keras_dpn.models.staged import check_crf
from keras_dpn.models.vgg16 import BLOCKS
from keras_dpn.ops.checks import check_one_of, check_positive_int
from keras_dpn.ops.range_boxes import standardize_box

_HEADS = ("unary", "field", "final")  # the heads that aren't relations


def check_piecewise_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the relations' boxes by name; raise ValueError unless the arguments are right."""
    for name in ("units", "num_iterations"):
        check_positive_int(name, config[name])
    check_positive_int("num_classes", config["num_classes"], minimum=2)
    check_positive_int("seed", config["seed"], minimum=0)
    check_crf(config["crf"])
    check_one_of("aggregation", config["aggregation"], ("sum", "mean"))
    if config["num_blocks"] not in range(1, len(BLOCKS) + 1):
        raise ValueError(
            "Invalid value for argument `num_blocks`: expected an integer from 1 to 5, received "
            f"{config['num_blocks']!r}."
        )
    scales = config["scales"]
    is_scale = [isinstance(s, numbers.Real) and 0 < float(s) < math.inf for s in _items(scales)]
    if not is_scale or not all(is_scale):
        raise ValueError(
            "Invalid value for argument `scales`: expected at least one positive number, received "
            f"{scales!r}."
        )
    pairs = [_items(pair) for pair in _items(config["block6"])]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            "Invalid value for argument `block6`: expected at least one pair (kernel, channels), "
            f"received {config['block6']!r}."
        )
    for number in (number for pair in pairs for number in pair):
        check_positive_int("block6", number)
    boxes = standardize_relations(config["relations"])
    if not boxes and not config["unary"]:
        raise ValueError(
            "Invalid values for arguments `relations` and `unary`: expected at least one "
            "potential, received none."
        )
    return boxes


def standardize_relations(relations: Any) -> dict[str, Any]:
    """Return a dictionary from each relation's name to its box; ValueError if one is wrong."""
    if not isinstance(relations, (dict, tuple, list)):
        raise ValueError(
            "Invalid value for argument `relations`: expected names, or a dictionary from names to "
            f"boxes, received {relations!r}."
        )
    for name in relations:
        if not isinstance(name, str) or not name.isalnum() or name in _HEADS:
            raise ValueError(
                "Invalid value for argument `relations`: expected names of letters and digits "
                f"other than {', '.join(_HEADS)}, received {name!r}."
            )
    boxes = dict(relations) if isinstance(relations, dict) else {name: name for name in relations}
    if len(boxes) != len(relations):
        raise ValueError(
            "Invalid value for argument `relations`: expected each relation once, received "
            f"{relations!r}."
        )
    for box in boxes.values():
        standardize_box(box)
    return boxes


def _items(value: Any) -> Any:
    return value if isinstance(value, (tuple, list)) else ()
