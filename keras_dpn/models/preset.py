"""Networks from presets: built from their configuration, with weights, or for other classes."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras

from keras_dpn.models.model_file import reading_model
from keras_dpn.models.pretrained import load_pretrained
from keras_dpn.models.weights_file import check_storage, read_member
from keras_dpn.presets.files import CONFIG, read_json
from keras_dpn.presets.source import find, weights_file


def from_preset(
    preset: str | Path,
    num_classes: int | None = None,
    dtype: str | None = None,
    load_weights: bool = True,
    *,
    network: type[keras.Model] = keras.Model,
    **overrides: Any,
) -> keras.Model:
    """Build the network of a preset, of whichever class in `keras_dpn.models`.

    Args:
        preset: name of an included preset (`keras_dpn.presets.available()`), a preset's directory,
            the directory of a finished training run, or `hf://org/name[@revision]`.
        num_classes: another number of classes. All weights are kept except those of the
            classifiers and label contexts, which are initialised.
        dtype: name of the dtype policy to compute in, such as "mixed_bfloat16"; None for Keras's
            current one.
        load_weights: whether to load the weights; False initialises them.
        network: the required class of the network.
        **overrides: constructor arguments that replace the preset's, such as `num_iterations=3`.
            Weights that don't fit them are initialised.

    Returns:
        The network; `keras.Model` with the methods of `keras_dpn.models.DPN` and the like.

    Raises:
        ValueError: for an unknown name, damaged files, and a network of another class.
        TypeError: for arguments that the network doesn't know.
        OSError: where a download fails.

    Example:

    >>> model = from_preset("dpn_scenes", num_classes=3)
    >>> model(keras.ops.zeros((1, 16, 16, 3))).shape
    (1, 16, 16, 3)
    """
    directory = find(preset)
    weights = weights_file(directory)
    with reading_model(weights):
        config = _read_config(weights)
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise TypeError(f"{CONFIG} has no configuration of a model")
        if load_weights and weights.suffix == ".h5":
            check_storage(weights)
    kind = keras.saving.get_registered_object(str(config.get("registered_name")))
    fits = isinstance(kind, type) and issubclass(kind, network)
    if not fits:
        raise ValueError(
            f"{preset}: expected a network of class {network.__name__}, received "
            f"{config.get('class_name')}. `keras_dpn.models.from_preset` takes any."
        )
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    # What is wrong without the caller's arguments is the file's fault.
    with dtype_policy(dtype), nullcontext() if overrides else reading_model(weights):
        model = kind.from_config(kind.updated_config(config["config"], overrides))
    if load_weights and overrides:
        load_pretrained(model, weights)
    elif load_weights:
        with reading_model(weights):
            model.load_weights(weights)
    return model


def _read_config(weights: Path) -> Any:
    """Return the configuration that Keras saved: in a run's archive, or next to the weights."""
    if zipfile.is_zipfile(weights):
        with zipfile.ZipFile(weights) as archive:
            return json.loads(read_member(archive, CONFIG, weights))
    return read_json(weights.with_name(CONFIG))


@contextmanager
def dtype_policy(name: str | None) -> Iterator[None]:
    """Set Keras's dtype policy within a block; None doesn't change it."""
    before = keras.config.dtype_policy()
    try:
        if name is not None:
            keras.config.set_dtype_policy(name)
        yield
    finally:
        keras.config.set_dtype_policy(before)
