"""Probabilities of images at each head: one forward pass per scale, flip and network."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_dpn.graph import for_any_size, is_functional, trace_for_any_size
from keras_dpn.inference.images import resize
from keras_dpn.models import traits
from keras_dpn.ops import two_labels
from keras_dpn.probabilities import class_probabilities
from keras_dpn.typing import Shape, Tensor

Forward = Callable[[np.ndarray], list[np.ndarray]]
Size = tuple[int, int] | None
# Models built from the users', whose outputs are the probabilities at one or several heads. Stored
# here, as Keras would save an attribute of the model as a sublayer.
_MODELS: weakref.WeakKeyDictionary[keras.Model, dict[Any, Any]] = weakref.WeakKeyDictionary()


def check_heads(model: keras.Model, heads: Sequence[str] | str) -> tuple[str, ...]:
    """Return the names of the requested heads, or the only one; all of the model's for "all".

    Raises:
        ValueError: for a model without heads, and for unknown or repeated names.
    """
    known = traits(model).head_names
    if not known:
        raise ValueError(
            "Invalid value for argument `model`: expected a model with heads such as "
            f"`models.DPN`, received {type(model).__name__} '{model.name}'. Leave `heads` out for "
            "its single output."
        )
    names = known if heads == "all" else (heads,) if isinstance(heads, str) else tuple(heads)
    if not names or not all(map(model.has_head, names)) or len(set(names)) < len(names):
        raise ValueError(
            f"Invalid value for argument `heads`: expected different names among {known}, "
            f"received {names}."
        )
    return names


def forward_function(model: keras.Model, heads: tuple[str, ...] | None) -> Forward:
    """Return a function from a batch to its probabilities at each head, or of the output."""
    if heads is None and not is_functional(model):
        if not model.compiled:  # else it keeps what it was compiled with
            for_any_size(model)
        return lambda batch: [
            class_probabilities(np.asarray(model.predict_on_batch(batch), "float32"))
        ]
    network = _probability_model(model, heads)
    return lambda batch: keras.tree.flatten(network.predict_on_batch(batch))


class _Probabilities(keras.layers.Layer):
    """Probabilities of logits, in float32, as a layer with a name of its own.

    Keras numbers the names of operations in each thread anew: built in another thread than the
    model, the operations alone could have names of the model's, which Keras refuses.
    """

    def __init__(self, index: int) -> None:
        super().__init__(name=f"probabilities_of_output_{index}", dtype="float32")

    def call(self, logits: Tensor) -> Tensor:
        return keras.ops.softmax(two_labels(keras.ops.cast(logits, "float32")))


def _probability_model(model: keras.Model, heads: tuple[str, ...] | None) -> keras.Model:
    """Return a model with the softmax in its graph: NumPy's takes as long as a small network."""
    cache = _MODELS.setdefault(model, {})
    if heads not in cache:
        outputs = model.outputs
        if heads is not None:
            names = check_heads(model, heads)
            outputs = [model.head_model(name).outputs[0] for name in names]
        probabilities = [_Probabilities(index)(x) for index, x in enumerate(outputs)]
        cache[heads] = trace_for_any_size(keras.Model(model.inputs[0], probabilities))
    return cache[heads]


def split_model(
    model: keras.Model, heads: tuple[str, ...] | None
) -> tuple[keras.Model, keras.Model]:
    """Return the parts of a network for clips, see `SpatialTemporalDPN.split`; they are cached."""
    cache = _MODELS.setdefault(model, {})
    names = heads or ("final",)
    if ("split", *names) not in cache:
        terms, field = model.split(names)
        cache["split", *names] = trace_for_any_size(terms), trace_for_any_size(field)
    return cache["split", *names]


def fixed_size(model: keras.Model) -> Size:
    """Return the height and width of the only images that a model takes; None for any size."""
    shape = image_shape(model)
    return None if len(shape) != 4 or None in shape[1:3] else (shape[1], shape[2])


def image_shape(model: keras.Model) -> Shape:
    """Return the shape of the images, or clips, that a model takes; () where it doesn't say."""
    image = getattr(model, "input", None)
    if image is None:  # a Sequential model has `inputs` alone
        image = next(iter(getattr(model, "inputs", None) or ()), None)
    if isinstance(image, dict):
        image = image.get("frames")
    return tuple(getattr(image, "shape", ()))


def num_labels(model: keras.Model) -> int | None:
    """Return how many labels a model's probabilities have; None where it doesn't say."""
    shape = getattr(model, "output_shape", None)
    labels = shape[-1] if isinstance(shape, tuple) and len(shape) > 1 else None
    return max(2, labels) if isinstance(labels, int) else None


def mean_of_views(
    image: np.ndarray, views: Sequence[tuple[float, bool, tuple[Forward, Size]]]
) -> list[np.ndarray]:
    """Return probabilities (H, W, L) at each head: the mean over scales, flips and networks.

    An image is resized to the size of a network that takes only one.
    """
    image = image.astype("float32")  # one dtype, so that the model is traced once
    sums: list[np.ndarray] = []
    for scale, flip, (forward, size) in views:
        height, width = size or (max(1, round(scale * n)) for n in image.shape[:2])
        scaled = resize(image, height, width)
        maps = _forward_one(forward, scaled[:, ::-1] if flip else scaled)
        maps = [resize(p[:, ::-1] if flip else p, *image.shape[:2]) for p in maps]
        sums = [s + p for s, p in zip(sums, maps, strict=True)] if sums else maps
    return [s / np.float32(len(views)) for s in sums] if len(views) > 1 else sums


def _forward_one(forward: Forward, image: np.ndarray) -> list[np.ndarray]:
    """Return probabilities (H, W, L) of one image at each head."""
    maps = forward(np.ascontiguousarray(image[None]))
    for probabilities in maps:
        if np.ndim(probabilities) != 4 or probabilities.shape[:3] != (1, *image.shape[:2]):
            raise ValueError(
                "Invalid value for argument `model`: expected logits of shape "
                f"(1, {image.shape[0]}, {image.shape[1]}, classes) for an image of shape "
                f"{image.shape}, received {np.shape(probabilities)}."
            )
    return [probabilities[0] for probabilities in maps]
