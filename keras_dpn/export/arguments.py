"""Check and standardise the arguments of the exports."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.export.signatures import IGNORE, OUTPUTS
from keras_dpn.inference import in_precision
from keras_dpn.models import traits
from keras_dpn.ops.checks import check_one_of, check_positive_int
from keras_dpn.typing import Shape


def check_backend(name: str) -> None:
    """Raise ValueError unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"`{name}` expected Keras's TensorFlow backend, received "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow and load the model there: "
            "its .keras file is the same on every backend. Pass `compile=False` for one of a model "
            "that was compiled on PyTorch."
        )


def check_model(model: keras.Model) -> None:
    """Raise ValueError unless a model maps images, or clips, to logits of 1 to 256 classes."""
    inputs: Any = getattr(model, "input_shape", None)
    outputs: Any = getattr(model, "output_shape", None)
    shapes = f"received {inputs} to {outputs}."
    takes_images = _has_rank_4(inputs) and inputs[-1] == 3 and _has_rank_4(outputs)
    if not takes_images and traits(model).clip_frames is None:
        raise ValueError(
            "Invalid value for argument `model`: expected one from images (B, H, W, 3) to logits "
            f"(B, H, W, L), or a network for clips such as `models.SpatialTemporalDPN`, {shapes}"
        )
    if not 1 <= outputs[-1] <= 256:
        raise ValueError(
            "Invalid value for argument `model`: expected 1 to 256 classes, as labels are uint8, "
            f"{shapes}"
        )


def standardize_image_size(model: keras.Model, image_size: int | tuple[int, int] | None) -> Any:
    """Return the input size of a model: as given, or the one that it was built for."""
    own = tuple(frame_shape(model)[-3:-1])
    if None in own:
        if own != (None, None):
            raise ValueError(
                "Invalid value for argument `model`: expected one for images of any size or of one "
                f"size, received one for height and width {own}."
            )
        return _standardize_size(image_size)
    if _standardize_size(image_size) not in (None, own):
        raise ValueError(
            f"Invalid value for argument `image_size`: expected {own}, for which the model was "
            f"built, received {image_size}."
        )
    return own


def check_shorter_side(
    model: keras.Model, shorter_side: int, image_size: int | tuple[int, int] | None
) -> None:
    """Raise ValueError for a shorter side next to another size, given or that of the model."""
    check_positive_int("shorter_side", shorter_side)
    if image_size is not None:
        raise ValueError(
            "Invalid values for arguments `image_size` and `shorter_side`: expected at most one "
            f"size, received {image_size} and {shorter_side}."
        )
    if (own := standardize_image_size(model, None)) is not None:
        raise ValueError(
            "Invalid value for argument `shorter_side`: expected None for a model that was built "
            f"for images of {own}, to which the export resizes them, received {shorter_side}."
        )


def in_half_precision(model: keras.Model, precision: str) -> keras.Model:
    """Return the same network with weights and features of 16 bits where its layers allow it.

    Args:
        model: one of `keras_dpn.models`.
        precision: "float16" or "bfloat16".

    Raises:
        ValueError: for another precision, and for other models.
    """
    check_one_of("precision", precision, ("float16", "bfloat16"))
    try:
        return in_precision(model, precision)
    except ValueError as error:
        raise ValueError(
            "Invalid value for argument `precision`: expected None for a model that is not one of "
            f"`keras_dpn.models`, received {precision!r}. Build it under "
            f"keras.config.set_dtype_policy('mixed_{precision}'). ({error})"
        ) from error


def _has_rank_4(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4


def frame_shape(model: keras.Model) -> Shape:
    """Return the shape of the images or frames that a model takes, without the batch."""
    shape = model.input["frames"].shape if traits(model).needs_flow else model.input_shape
    return shape[1:]


def _standardize_size(size: Any) -> Any:
    if size is None or isinstance(size, int):
        return size if size is None else check_positive_int("image_size", size)
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(
            "Invalid value for argument `image_size`: expected None, an integer or (height, "
            f"width), received {size!r}."
        )
    return tuple(check_positive_int("image_size", n) for n in size)


def standardize_classes(
    classes: Classes | Mapping[str, Any] | None, count: int
) -> dict[str, Any] | None:
    """Return the classes with an ignore label; raise ValueError unless they fit the model."""
    if classes is None:
        return None
    given = classes.to_json() if isinstance(classes, Classes) else dict(classes)
    names, colors = (list(given.get(key, ())) for key in ("names", "colors"))
    are_names = len(names) == count and all(isinstance(name, str) for name in names)
    if not are_names or len(colors) != count or not all(map(_is_color, colors)):
        raise ValueError(
            'Invalid value for argument `classes`: expected "names", strings, and "colors" (red, '
            f"green, blue), integers 0-255, of the model's {count} classes, received {given}."
        )
    rgb = [[int(value) for value in color] for color in colors]
    return {"ignore": IGNORE, **given, "names": names, "colors": rgb}


def _is_color(color: Any) -> bool:
    try:
        values = np.asarray(color)
    except ValueError:  # ragged
        return False
    return (
        values.shape == (3,) and values.dtype.kind in "iu" and 0 <= min(values) <= max(values) < 256
    )


def standardize_warmup(warmup: Any) -> tuple[int, int] | None:
    """Return height and width as a pair, or None; raise ValueError for others."""
    if warmup is None:
        return None
    if not isinstance(warmup, (tuple, list)) or len(warmup) != 2:
        raise ValueError(
            "Invalid value for argument `warmup`: expected None or (height, width), received "
            f"{warmup!r}."
        )
    height, width = (check_positive_int("warmup", side) for side in warmup)
    return height, width


def standardize_outputs(
    outputs: Sequence[str], classes: Mapping[str, Any] | None, model: keras.Model
) -> tuple[str, ...]:
    """Return the outputs as a tuple; raise ValueError for unavailable ones."""
    for name in outputs:
        check_one_of("outputs", name, OUTPUTS)
        if classes is None and name in ("overlay", "classes"):
            raise ValueError(
                f"Invalid value for argument `outputs`: {name!r} needs the argument `classes`."
            )
        if name == "stages" and not traits(model).heads:
            raise ValueError(
                "Invalid value for argument `outputs`: 'stages' needs one of `keras_dpn.models`."
            )
    return tuple(outputs)
