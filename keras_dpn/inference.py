"""Whole images in, class probabilities out: any size, averaged over scales and mirroring."""

import weakref
from collections.abc import Callable, Sequence

import keras
import numpy as np

Forward = Callable[[np.ndarray], list[np.ndarray]]

# One model with an output for each stage, for every model asked. Kept here, not on the model: Keras
# would take an attribute for a sublayer and save it.
_STAGE_MODELS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def predict_probabilities(
    model: keras.Model,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
) -> np.ndarray:
    """Class probabilities of every pixel of one image.

    The image is resized to each of the scales (bilinear, antialiased), the model's logits become
    probabilities, and these are brought back to the image's size and averaged.

    Args:
        model: takes RGB images (B, H, W, 3) with values 0-255, returns logits (B, H, W, L).
        image: (H, W, 3), uint8 or float, RGB, 0-255.
        scales: factors for height and width; (1.0,) is the image as it is.
        mirror: average with the prediction on the image mirrored left to right.

    Returns:
        float32 (H, W, L); each pixel's values sum to 1.

    Raises:
        ValueError: if the image is not (H, W, 3) with pixels in it, holds neither uint8 nor finite
            floats, if a scale is not above 0, or if the model's output is not (1, H, W, L).

    Example:
    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    >>> predict_probabilities(model, np.zeros((7, 9, 3), "uint8"), scales=(1.0, 2.0)).shape
    (7, 9, 5)
    """

    def forward(batch: np.ndarray) -> list[np.ndarray]:
        return [model.predict_on_batch(batch)]

    return _averaged(forward, image, scales, mirror)[0]


def predict_labels(
    model: keras.Model,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
) -> np.ndarray:
    """The most probable class of every pixel: uint8 (H, W), or int32 above 256 classes.

    Args and Raises as in `predict_probabilities`.
    """
    return to_labels(predict_probabilities(model, image, scales, mirror))


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """The class with the highest value: (..., L) to uint8 (...), or int32 above 256 classes."""
    dtype = np.uint8 if probabilities.shape[-1] <= 256 else np.int32
    return np.argmax(probabilities, axis=-1).astype(dtype)


def stage_probabilities(
    model: keras.Model,
    image: np.ndarray,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
) -> dict[str, np.ndarray]:
    """Class probabilities after each stage of one model, in a single forward pass.

    Args:
        model: has `stage_names` and `stage_model(name)`, as `models.DPN`.
        image: (H, W, 3), uint8 or float, RGB, 0-255.
        stages: names to return, in this order; all by default.
        scales: as in `predict_probabilities`.
        mirror: as in `predict_probabilities`.

    Returns:
        float32 (H, W, L) for each stage's name.

    Raises:
        ValueError: for a model without stages, an unknown stage, and as `predict_probabilities`.
    """
    names = check_stages(model, stages)
    stage_model = _stage_model(model, names)

    def forward(batch: np.ndarray) -> list[np.ndarray]:
        return keras.tree.flatten(stage_model.predict_on_batch(batch))

    return dict(zip(names, _averaged(forward, image, scales, mirror), strict=True))


def check_stages(model: keras.Model, stages: Sequence[str] | None = None) -> tuple[str, ...]:
    """The names of the stages asked for: all of the model's by default; ValueError if unknown."""
    known = tuple(getattr(model, "stage_names", ()))
    if not known:
        raise ValueError(
            "Invalid value for argument `model`: expected a model with stages (`stage_names`, "
            f"`stage_model`) such as `models.DPN`, received {type(model).__name__} "
            f"'{getattr(model, 'name', '')}'. Use `predict_probabilities` for its one output."
        )
    names = known if stages is None else tuple(stages)
    if not names or any(name not in known for name in names) or len(set(names)) < len(names):
        raise ValueError(
            f"Invalid value for argument `stages`: expected different names among {known}, "
            f"received {names}."
        )
    return names


def _stage_model(model: keras.Model, names: tuple[str, ...]) -> keras.Model:
    cache = _STAGE_MODELS.setdefault(model, {})
    if names not in cache:
        outputs = [model.stage_model(name).outputs[0] for name in names]
        cache[names] = keras.Model(model.inputs, outputs)
    return cache[names]


def _averaged(
    forward: Forward, image: np.ndarray, scales: Sequence[float], mirror: bool
) -> list[np.ndarray]:
    """Mean probabilities (H, W, L) over scales and mirroring, for each of the model's outputs."""
    image = _check_image(image)
    sums: list[np.ndarray] = []
    for scale in _check_scales(scales):
        height, width = (max(1, round(scale * n)) for n in image.shape[:2])
        scaled = _resize(image, height, width)
        for flip in (False, True) if mirror else (False,):
            maps = _forward_one(forward, scaled[:, ::-1] if flip else scaled)
            maps = [p[:, ::-1] if flip else p for p in maps]
            maps = [_resize(p, *image.shape[:2]) for p in maps]
            sums = [s + p for s, p in zip(sums, maps, strict=True)] if sums else maps
    return [s / s.sum(axis=-1, keepdims=True) for s in sums]


def _forward_one(forward: Forward, image: np.ndarray) -> list[np.ndarray]:
    """Probabilities (H, W, L) of one image for each output."""
    maps = []
    for logits in forward(np.ascontiguousarray(image[None])):
        shape = np.shape(logits)
        if len(shape) != 4 or shape[:3] != (1, *image.shape[:2]):
            raise ValueError(
                "Invalid value for argument `model`: expected logits of shape "
                f"(1, {image.shape[0]}, {image.shape[1]}, classes) for an image of shape "
                f"{image.shape}, received {shape}."
            )
        maps.append(softmax(np.asarray(logits[0], "float32")))
    return maps


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., L)."""
    exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, antialiased where it shrinks: float32 (H, W, C)."""
    if array.shape[:2] == (height, width):
        return array
    from PIL import Image  # here, since the library itself needs only Keras and NumPy

    resized = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR)
        for channel in np.moveaxis(array, -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)


def _check_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    expected = "Invalid value for argument `image`: expected one RGB image (height, width, 3)"
    if image.ndim != 3 or image.shape[-1] != 3:
        hint = " Pass one image at a time, channels last." if image.ndim in (3, 4) else ""
        raise ValueError(f"{expected}, received shape {image.shape}.{hint}")
    if 0 in image.shape:
        raise ValueError(f"{expected} with at least one pixel, received shape {image.shape}.")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{expected} of uint8 or floats from 0 to 255, received {image.dtype}.")
    if not np.isfinite(image).all():
        raise ValueError(f"{expected} of finite numbers, received NaN or infinity.")
    return image.astype("float32")  # one dtype, so that the model is traced once


def _check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    scales = tuple(scales) if np.ndim(scales) else (scales,)
    if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
        raise ValueError(
            "Invalid value for argument `scales`: expected one or more factors above 0 such as "
            f"(0.75, 1.0, 1.25), received {scales}."
        )
    return scales
