"""Whole images in, class probabilities out: any size, averaged over scales and mirroring."""

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from keras_dpn import models
from keras_dpn.ops.warp import NO_LINK, check_flow

Forward = Callable[[np.ndarray], list[np.ndarray]]
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray] | Iterable[tuple[np.ndarray, np.ndarray]]

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


def predict_video(
    model: keras.Model, frames: Iterable[np.ndarray], flow: Flow | None = None
) -> Iterator[np.ndarray]:
    """Class probabilities of a video's frames, one after another, in constant memory.

    Args:
        model: for images, as in `predict_probabilities`, which sees each frame by itself; or a
            `models.SpatialTemporalDPN`, which sees each with its neighbours. Its unary term is run
            once a frame. Before the first frame and after the last lie copies of them, to which no
            flow leads.
        frames: uint8 or float (H, W, 3), RGB, 0-255, all of one size; an iterator will do.
        flow: function from two frames to the flow from the first to the second, float
            (H, W, 2), (dx, dy) in pixels; or pairs of the flow from each frame to the next and back
            again. Networks with `linking="flow"` need it, others don't use it.

    Yields:
        float32 (H, W, L) for each frame, in order, the network's `frames` // 2 frames behind.

    Raises:
        ValueError: without the flow that the model needs; on flow or frames of other sizes, flow
            with NaN; and as `predict_probabilities`.
    """
    if isinstance(model, models.SpatialTemporalDPN):
        for maps in stage_video_probabilities(model, frames, flow, ("final",)):
            yield maps["final"]
    else:
        for frame in frames:
            yield predict_probabilities(model, frame)


def stage_video_probabilities(
    model: keras.Model,
    frames: Iterable[np.ndarray],
    flow: Flow | None = None,
    stages: Sequence[str] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Class probabilities of a video's frames after each stage of one model.

    Args, Yields and Raises as in `predict_video`, with a dictionary for each frame from the names
    of `stages`, all of the model's by default, in this order, to probabilities.
    """
    names = check_stages(model, stages)
    if not isinstance(model, models.SpatialTemporalDPN):
        for frame in frames:
            yield stage_probabilities(model, frame, names)
        return
    if model.linking == "flow" and flow is None:
        raise ValueError(
            "Invalid value for argument `flow`: expected a function from two frames to the flow "
            "between them, since the network links its frames by flow, received None."
        )
    flow = flow if model.linking == "flow" else None
    terms, field = _split_model(model, names)
    for window in _windows(terms, frames, flow, model.frames):
        answers = keras.tree.flatten(field.predict_on_batch(window))
        if model.labels_of == "all":
            answers = [answer[:, model.frames // 2] for answer in answers]
        yield {name: softmax(np.asarray(a[0])) for name, a in zip(names, answers, strict=True)}


def stage_clip_probabilities(
    model: keras.Model,
    frames: Sequence[np.ndarray],
    flow: Flow | None = None,
    stages: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Class probabilities of a clip's middle frame after each stage of one model.

    Args:
        model: as in `predict_video`.
        frames: T of them, as in `predict_video`; T is odd.
        flow: as in `predict_video`; `zip(forward_flow, backward_flow)` where a clip has both as
            arrays.
        stages: names to return, in this order; all by default.

    Returns:
        float32 (H, W, L) for each stage's name.

    Raises:
        ValueError: for an even number of frames, and as `stage_video_probabilities`.
    """
    if len(frames) % 2 == 0:
        raise ValueError(
            "Invalid value for argument `frames`: expected an odd number of them, so that one is "
            f"in the middle, received {len(frames)}."
        )
    found = stage_video_probabilities(model, frames, flow, stages)
    return next(itertools.islice(found, len(frames) // 2, None))


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


def _split_model(model, names: tuple[str, ...]) -> tuple[keras.Model, keras.Model]:
    cache = _STAGE_MODELS.setdefault(model, {})
    key = ("split", *names)
    if key not in cache:
        cache[key] = model.split(names)
    return cache[key]


def _windows(
    terms: keras.Model, frames: Iterable[np.ndarray], flow: Flow | None, length: int
) -> Iterator[list[np.ndarray]]:
    """What a network's field needs to label each frame: the window around it, as a batch of one."""
    window, links = deque(maxlen=length), deque(maxlen=length - 1)
    pairs = None if flow is None or callable(flow) else iter(flow)
    for current, is_copy in _padded(_with_terms(terms, frames), length // 2):
        if window and flow is not None:
            there, here = window[-1][0], current[0]
            if is_copy:
                link = [np.full((*here.shape[:2], 2), NO_LINK, "float32")] * 2
            elif pairs is None:
                link = flow(there, here), flow(here, there)
            else:
                link = next(pairs, None)
            if link is None:
                raise ValueError(
                    "Invalid value for argument `flow`: expected a pair for each frame but the "
                    "last, received fewer."
                )
            links.append([_checked_flow(f, here.shape) for f in link])
        window.append(current)
        if len(window) == length:
            clip, unary, guide = (np.stack(x)[None] for x in zip(*window, strict=True))
            flows = [] if flow is None else _stacked_links(links, clip.shape[2:4])
            yield [unary, guide, clip, *flows]


def _with_terms(
    terms: keras.Model, frames: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each frame with its unary term and guide."""
    size = None
    for frame in frames:
        image = _check_image(frame)
        size = size or image.shape
        if image.shape != size:
            raise ValueError(
                f"Invalid value for argument `frames`: expected frames of one size, {size} as the "
                f"first, received {image.shape}."
            )
        yield frame, *(x[0, 0] for x in terms.predict_on_batch(image[None, None]))


def _padded(items: Iterable, count: int) -> Iterator[tuple]:
    """The items between copies of the first and of the last, each with whether it has no link.

    An item has a link to the one before it, unless one of the two is such a copy.
    """
    last = None
    for item in items:
        if last is None:
            yield from ((item, True) for _ in range(count))
        yield item, last is None
        last = item
    if last is not None:
        yield from ((last, True) for _ in range(count))


def _checked_flow(flow: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    flow = np.asarray(flow)
    check_flow("flow", flow, shape, "the frames")
    return flow.astype("float32")


def _stacked_links(links: Iterable, size: tuple[int, int]) -> list[np.ndarray]:
    """Forward and backward flow of a clip, each (1, T-1, H, W, 2)."""
    steps = np.reshape(np.array([*links], "float32"), (-1, 2, *size, 2))
    return [steps[None, :, 0], steps[None, :, 1]]


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
