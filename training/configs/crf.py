"""The settings file of a fully connected CRF: JSON, keyword arguments of `keras_dpn.crf.refine`."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_dpn.layers import MeanFieldCRF

from ..utils.files import read_json


def read_crf(path: Path) -> dict[str, Any]:
    """The settings in a file such as `training.crf_search` writes.

    Args:
        path: for example `{"num_iterations": 10, "bilateral": [4, 121, 5], "spatial": [3, 3]}`.

    Raises:
        ValueError: naming the file, and the field that is unknown or has a wrong value.
    """
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(settings).__name__}.")
    try:
        check_crf(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return settings


def check_crf(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the setting which is unknown or has a wrong value."""
    known = [name for name in inspect.signature(MeanFieldCRF).parameters if name != "kwargs"]
    if unknown := [name for name in settings if name not in known]:
        raise ValueError(
            f"unknown fields: {', '.join(unknown)}; expected some of {', '.join(known)}."
        )
    try:
        MeanFieldCRF(**settings)
    except TypeError as error:
        raise ValueError(str(error)) from None
