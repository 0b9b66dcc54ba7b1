"""Whole images in, class probabilities out: any size, averaged over models, scales, mirroring."""

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_dpn import models
from keras_dpn.graph import is_functional
from keras_dpn.ops.warp import NO_LINK, check_flow
from keras_dpn.tiles import OVERLAP, joined, pieces

Models = keras.Model | Sequence[keras.Model]
Forward = Callable[[np.ndarray], list[np.ndarray]]
Look = Callable[[np.ndarray], list[np.ndarray]]
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray] | Iterable[tuple[np.ndarray, np.ndarray]]
# Models made of the ones asked, whose outputs are probabilities, of one or several stages. Kept
# here, not on the model: Keras would take an attribute for a sublayer and save it.
_MODELS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def predict_probabilities(
    model: Models,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> np.ndarray:
    """Class probabilities of every pixel of one image.

    The image is resized to each of the scales (bilinear, antialiased), the model's logits become
    probabilities, and these are brought back to the image's size and averaged.

    With `tile` an image of more than tile x tile pixels is looked at in overlapping squares of that
    side or less, each by itself, so that the memory of a pass does not grow with the image
    (`tiles.pieces`). A network that sees no further than 3/8 of the overlap answers as on the whole
    image (with `mirror` if the image's width is a multiple of its stride); what looks further, such
    as ParseNet's global context, sees the tile only.

    Args:
        model: takes RGB images (B, H, W, 3) with values 0-255, returns logits (B, H, W, L). Or
            several of them, whose probabilities are averaged.
        image: (H, W, 3), uint8 or float, RGB, 0-255.
        scales: factors for height and width; (1.0,) is the image as it is.
        mirror: average with the prediction on the image mirrored left to right.
        tile: side of the tiles in pixels, a multiple of 32 of at least twice the overlap, see
            `tiles.side_for_memory`; None for the whole image at once, whatever its size.
        overlap: pixels that neighbouring tiles share, a multiple of 32 from 32 up.

    Returns:
        float32 (H, W, L); each pixel's values sum to 1.

    Raises:
        ValueError: if the image is not (H, W, 3) with pixels in it, holds neither uint8 nor finite
            floats, if a scale is not above 0, if tile or overlap is none of those, or if a model's
            output is not (1, H, W, L).

    Example:
    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    >>> predict_probabilities(model, np.zeros((7, 9, 3), "uint8"), scales=(1.0, 2.0)).shape
    (7, 9, 5)
    """
    return _predicted(_forwards(model), image, scales, mirror, tile, overlap)[0]


def predict_labels(
    model: Models,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> np.ndarray:
    """The most probable class of every pixel: uint8 (H, W), or int32 above 256 classes.

    With `tile` the probabilities of the whole image are never there at once.

    Args and Raises as in `predict_probabilities`.
    """
    image = _check_image(image)
    found = pieces(_look(_forwards(model), scales, mirror), image, tile, overlap)
    labelled = ((rows, columns, [to_labels(p)]) for rows, columns, [p] in found)
    return joined(labelled, image.shape[:2])[0]


def predict_images(
    model: Models,
    images: Iterable[np.ndarray],
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> Iterator[np.ndarray]:
    """Class probabilities of one image after another, of any sizes.

    While the model looks at an image, a thread takes the next two from `images`: a generator that
    reads and decodes them costs no time then.

    Args and Raises as in `predict_probabilities`, but for `images`, which may have no end.

    Yields:
        float32 (H, W, L) for each image, in order.
    """
    forwards, remaining = _forwards(model), iter(images)
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(next, remaining, None) for _ in range(2))
        while (image := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(next, remaining, None))
            yield _predicted(forwards, image, scales, mirror, tile, overlap)[0]


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """The class with the highest value: (..., L) to uint8 (...), or int32 above 256 classes."""
    dtype = np.uint8 if probabilities.shape[-1] <= 256 else np.int32
    return np.argmax(probabilities, axis=-1).astype(dtype)


def stage_probabilities(
    model: Models,
    image: np.ndarray,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> dict[str, np.ndarray]:
    """Class probabilities after each stage of one model, in a single forward pass.

    Args:
        model: has `stage_names` and `stage_model(name)`, as `models.DPN`. Or several, all with
            these stages.
        image: (H, W, 3), uint8 or float, RGB, 0-255.
        stages: names to return, in this order; all of the (first) model's by default.
        scales: as in `predict_probabilities`, as all that follow.
        mirror: average with the mirrored image.
        tile: side of the tiles; None for the whole image at once.
        overlap: pixels that neighbouring tiles share.

    Returns:
        float32 (H, W, L) for each stage's name.

    Raises:
        ValueError: for a model without stages, an unknown stage, and as `predict_probabilities`.
    """
    models_ = _as_models(model)
    names = check_stages(models_[0], stages)
    forwards = _forwards(models_, names)
    found = _predicted(forwards, image, scales, mirror, tile, overlap)
    return dict(zip(names, found, strict=True))


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """A copy of a model that computes in another precision, with the same weights.

    In half precision ("mixed_bfloat16", "mixed_float16") hardware made for it is several times
    faster and a pass takes about half the memory. Layers that the network itself keeps in float32,
    such as its last ones, stay so.

    Args:
        model: one of `keras_dpn.models`, or any whose configuration leaves the precision to Keras.
        policy: name of a dtype policy of Keras.

    Raises:
        ValueError: if the policy is unknown, or the model's configuration fixes the precision, as
            that of a functional model does.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        copy = type(model).from_config(model.get_config())
    finally:
        keras.config.set_dtype_policy(before)
    wanted = keras.dtype_policies.get(policy).compute_dtype
    if all(layer.compute_dtype != wanted for layer in copy.layers if layer.weights):
        raise ValueError(
            f"Invalid value for argument `model`: expected one that can compute in {wanted}, but "
            f"the configuration of {model.name!r} fixes its layers' precision."
        )
    copy.set_weights(model.get_weights())
    return copy


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
    has_stage = getattr(model, "has_stage", known.__contains__)
    if not names or not all(map(has_stage, names)) or len(set(names)) < len(names):
        raise ValueError(
            f"Invalid value for argument `stages`: expected different names among {known}, "
            f"received {names}."
        )
    return names


def _as_models(model: Models) -> tuple[keras.Model, ...]:
    found = tuple(model) if isinstance(model, (list, tuple)) else (model,)
    if not found:
        raise ValueError("Invalid value for argument `model`: expected one or more, received none.")
    return found


def _forwards(model: Models, stages: tuple[str, ...] | None = None) -> list[Forward]:
    """For each model what gives a batch's probabilities, for each of the stages or at the end."""
    return [_forward(network, stages) for network in _as_models(model)]


def _forward(model: keras.Model, stages: tuple[str, ...] | None) -> Forward:
    if stages is None and not is_functional(model):
        return lambda batch: [softmax(np.asarray(model.predict_on_batch(batch), "float32"))]
    network = _probability_model(model, stages)
    return lambda batch: keras.tree.flatten(network.predict_on_batch(batch))


def _probability_model(model: keras.Model, stages: tuple[str, ...] | None) -> keras.Model:
    """A model with the softmax in its graph: NumPy's takes as long as a small network."""
    cache = _MODELS.setdefault(model, {})
    if stages not in cache:
        outputs = model.outputs
        if stages is not None:
            names = check_stages(model, stages)
            outputs = [model.stage_model(name).outputs[0] for name in names]
        logits = [keras.ops.cast(x, "float32") for x in outputs]
        cache[stages] = keras.Model(model.inputs[0], [keras.ops.softmax(x) for x in logits])
    return cache[stages]


def _split_model(model, names: tuple[str, ...]) -> tuple[keras.Model, keras.Model]:
    cache = _MODELS.setdefault(model, {})
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
        image = _check_image(frame).astype("float32")
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


def _predicted(
    forwards: Sequence[Forward],
    image: np.ndarray,
    scales: Sequence[float],
    mirror: bool,
    tile: int | None,
    overlap: int,
) -> list[np.ndarray]:
    """Probabilities (H, W, L) of an image for each output."""
    image = _check_image(image)
    found = pieces(_look(forwards, scales, mirror), image, tile, overlap)
    return joined(found, image.shape[:2])


def _look(forwards: Sequence[Forward], scales: Sequence[float], mirror: bool) -> Look:
    """What gives the mean probabilities of an image, or of a tile, for each output."""
    flips = (False, True) if mirror else (False,)
    views = list(itertools.product(_check_scales(scales), flips, forwards))

    def look(image: np.ndarray) -> list[np.ndarray]:
        image = image.astype("float32")  # one dtype, so that the model is traced once
        sums: list[np.ndarray] = []
        for scale, flip, forward in views:
            height, width = (max(1, round(scale * n)) for n in image.shape[:2])
            scaled = _resize(image, height, width)
            maps = _forward_one(forward, scaled[:, ::-1] if flip else scaled)
            maps = [_resize(p[:, ::-1] if flip else p, *image.shape[:2]) for p in maps]
            sums = [s + p for s, p in zip(sums, maps, strict=True)] if sums else maps
        return [s / np.float32(len(views)) for s in sums] if len(views) > 1 else sums

    return look


def _forward_one(forward: Forward, image: np.ndarray) -> list[np.ndarray]:
    """Probabilities (H, W, L) of one image for each output."""
    maps = forward(np.ascontiguousarray(image[None]))
    for found in maps:
        if np.ndim(found) != 4 or found.shape[:3] != (1, *image.shape[:2]):
            raise ValueError(
                "Invalid value for argument `model`: expected logits of shape "
                f"(1, {image.shape[0]}, {image.shape[1]}, classes) for an image of shape "
                f"{image.shape}, received {np.shape(found)}."
            )
    return [found[0] for found in maps]


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
    return image


def _check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    scales = tuple(scales) if np.ndim(scales) else (scales,)
    if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
        raise ValueError(
            "Invalid value for argument `scales`: expected one or more factors above 0 such as "
            f"(0.75, 1.0, 1.25), received {scales}."
        )
    return scales
