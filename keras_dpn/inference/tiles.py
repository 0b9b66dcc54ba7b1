"""Tiled inference: predict large images tile by tile in limited memory, and blend the tiles."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from keras_dpn.graph import graph_nodes, is_functional
from keras_dpn.layers import MeanFieldCRF
from keras_dpn.limits import fits

Tile = tuple[slice, slice, list[np.ndarray]]

OVERLAP = 256  # pixels that neighbouring tiles share; DeepLab-LargeFOV's fc6 reaches 96
# Tiles begin at multiples of the networks' largest stride, so that a tile's cells are cells of the
# whole image.
STRIDE = 32
# The memory of a forward pass, in units of the network's largest map: 1.3 to 3.5 were measured
# (benchmarks/inference.py). A fully connected CRF counts as a map of three times its labels, plus
# its lattice's memory for six vertices per pixel, their coordinates and neighbours.
_MAPS = 4
_CRF_LABELS, _CRF_LATTICE = 3, 128
_COPIES = 3  # copies of a tile and of its probabilities in NumPy


def predict_tiles(
    predict: Callable[[np.ndarray], list[np.ndarray]],
    image: np.ndarray,
    tile: int | None,
    overlap: int = OVERLAP,
) -> Iterator[Tile]:
    """Apply a function to overlapping tiles of an image and yield its blended maps.

    Where two tiles overlap, the outer three eighths of each only serve as context, and the maps are
    blended linearly in the quarter between. Memory does not grow with the image, except for a strip
    of the overlap's height: only values that are still to be blended are kept.

    Args:
        predict: from an array (h, w, C) to maps (h, w, any), one or more, floats.
        image: (H, W, C).
        tile: side of the tiles in pixels, a multiple of 32 of at least twice the overlap; images
            that are only a little larger get smaller tiles. Images of at most tile x tile pixels,
            as `limits.fits` counts them, are predicted as a whole, as are all with None.
        overlap: pixels that neighbouring tiles share, a multiple of 32 from 32 up.

    Yields:
        Rows and columns, slices of the image, and the maps there. They cover the image once.

    Raises:
        ValueError: if tile or overlap is invalid.

    Example:

    >>> image = np.zeros((90, 200, 3))
    >>> tiles = predict_tiles(lambda part: [part], image, tile=96, overlap=32)
    >>> [columns.stop for _, columns, _ in tiles]
    [64, 128, 200]
    """
    overlap = check_overlap(overlap)
    height, width = image.shape[:2]
    if tile is None or fits(height, width, check_tile(tile, overlap) ** 2):
        yield slice(0, height), slice(0, width), predict(image)
        return
    spans = _spans(width, tile, overlap)
    above: deque[list[np.ndarray]] = (
        deque()
    )  # of each tile of the row above, the rows that it shares
    for top, bottom in _spans(height, tile, overlap):
        is_last = bottom == height
        weights = _ramp(bottom - top, overlap, top > 0, not is_last)[:, None, None]
        below: deque[list[np.ndarray]] = deque()
        for columns, maps in _row(predict, image[top:bottom], spans, overlap):
            shares = above.popleft() if top else []
            for p in maps:
                p *= weights
            for p, share in zip(maps, shares, strict=False):
                p[:overlap] += share
            if not is_last:
                below.append([p[-overlap:].copy() for p in maps])
                maps = [p[:-overlap] for p in maps]
            yield slice(top, top + len(maps[0])), columns, maps
        above = below


def stitch(parts: Iterable[Tile], size: tuple[int, int]) -> list[np.ndarray]:
    """Assemble whole maps from the tiles of an image.

    Args:
        parts: the parts of an image that `predict_tiles` yields.
        size: the image's height and width.

    Returns:
        Arrays (H, W, ...).
    """
    wholes: list[np.ndarray] = []
    for rows, columns, maps in parts:
        if maps[0].shape[:2] == tuple(size):
            return maps
        wholes = wholes or [np.empty((*size, *p.shape[2:]), p.dtype) for p in maps]
        for whole, p in zip(wholes, maps, strict=True):
            whole[rows, columns] = p
    return wholes


def side_for_memory(
    model: keras.Model | Sequence[keras.Model],
    memory: float,
    scales: Sequence[float] = (1.0,),
    overlap: int = OVERLAP,
) -> int:
    """Return the side of the largest tiles that a model can process in limited memory.

    The limit is for one forward pass: it covers the network's maps and the probabilities of a tile,
    without the weights, the image, the result, and the probabilities of a strip of the overlap's
    height. It is a conservative estimate from the network's largest map.

    Args:
        model: a functional model of images, or several, which run one after the other.
        memory: the limit in bytes.
        scales: factors at which each tile is predicted.
        overlap: pixels that neighbouring tiles share.

    Returns:
        A multiple of 32, for `predict_tiles`.

    Raises:
        ValueError: if the limit is too small for tiles of twice the overlap, or a model is not
            functional.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(64, 3)])
    >>> side_for_memory(model, memory=2**30)
    768
    """
    networks = model if isinstance(model, (list, tuple)) else [model]
    smallest, scale = 2 * check_overlap(overlap), max(1.0, *scales)
    pixel = max(map(bytes_per_pixel, networks)) * scale**2
    side = int((memory / pixel) ** 0.5) // STRIDE * STRIDE
    if side < smallest:
        raise ValueError(
            f"Invalid value for argument `memory`: expected {pixel * smallest**2 / 2**30:.2f} GiB "
            f"or more, for tiles of {smallest}x{smallest} pixels, received {memory / 2**30:.2f}."
        )
    return side


def bytes_per_pixel(model: keras.Model) -> float:
    """Estimate the memory of a forward pass per pixel of the image, in bytes.

    Args:
        model: a functional model of images.

    Raises:
        ValueError: if it isn't functional.
    """
    if not is_functional(model) or len(model.inputs[0].shape) != 4:
        raise ValueError(
            "Invalid value for argument `model`: expected a functional model of images, whose maps "
            f"are known, received {model.name!r}."
        )
    size = [n or 16 * STRIDE for n in model.inputs[0].shape[1:3]]
    channels = model.inputs[0].shape[-1] or 3
    image = keras.KerasTensor((1, *size, channels), dtype=model.inputs[0].dtype)
    network = _MAPS * max(_map_bytes(model, [image])) / math.prod(size)
    return network + _COPIES * 4 * (channels + model.outputs[0].shape[-1])


def _row(
    predict: Callable[[np.ndarray], list[np.ndarray]],
    band: np.ndarray,
    spans: Sequence[tuple[int, int]],
    overlap: int,
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Yield the columns of a band and the maps there, tile by tile without the next one's share."""
    shared: list[np.ndarray] = []
    for left, right in spans:
        is_last = right == band.shape[1]
        weights = _ramp(right - left, overlap, left > 0, not is_last)[:, None]
        maps = [p * weights for p in predict(band[:, left:right])]
        for p, share in zip(maps, shared, strict=False):
            p[:, :overlap] += share
        if not is_last:
            shared = [p[:, -overlap:].copy() for p in maps]
            maps = [p[:, :-overlap] for p in maps]
        yield slice(left, left + maps[0].shape[1]), maps


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Return the first and last pixel (exclusive) of an axis's tiles, of about equal length."""
    if length <= tile:
        return [(0, length)]
    step = (length - overlap) / math.ceil((length - overlap) / (tile - overlap))
    step = max(math.ceil(step / STRIDE) * STRIDE, overlap)
    starts = range(0, length - overlap, step)
    return [(start, min(start + step + overlap, length)) for start in starts]


def _ramp(length: int, overlap: int, has_before: bool, has_after: bool) -> np.ndarray:
    """Return a tile's weights along an axis; those of two neighbours sum to 1 in the overlap."""
    weights = np.ones(length, "float32")
    rising = (np.arange(overlap, dtype="float32") + 0.5) / overlap
    rising = np.clip(4 * rising - 1.5, 0, 1)  # from 3/8 to 5/8
    if has_before:
        weights[:overlap] = rising
    if has_after:
        weights[-overlap:] = 1 - rising
    return weights


def _map_bytes(model: keras.Model, inputs: Sequence[keras.KerasTensor]) -> Iterator[float]:
    """Yield the size of each map in a model's graph, and in the models within it."""
    nodes = graph_nodes(model.outputs)
    tensors = [x for node in nodes for x in node.output_tensors]
    specs = keras.Function(model.inputs, tensors).compute_output_spec(list(inputs))
    spec_of = {id(x): spec for x, spec in zip(tensors, specs, strict=True)}
    for node in nodes:
        for spec in (spec_of[id(x)] for x in node.output_tensors):
            if None not in spec.shape:
                *size, channels = spec.shape
                if isinstance(node.operation, MeanFieldCRF):
                    channels = _CRF_LABELS * channels + _CRF_LATTICE
                yield math.prod(size) * channels * np.dtype(spec.dtype).itemsize
        if isinstance(node.operation, keras.Model) and is_functional(node.operation):
            yield from _map_bytes(node.operation, [spec_of[id(x)] for x in node.input_tensors])


def check_tile(tile: int, overlap: int) -> int:
    """Return the side of the tiles; raise ValueError if it does not fit the overlap."""
    if tile != int(tile) or tile % STRIDE or tile < 2 * overlap:
        raise ValueError(
            f"Invalid value for argument `tile`: expected a multiple of {STRIDE} of at least twice "
            f"the overlap, {2 * overlap}, received {tile}."
        )
    return int(tile)


def check_overlap(overlap: int) -> int:
    """Return the overlap; raise ValueError unless it is a multiple of the stride."""
    if overlap != int(overlap) or overlap % STRIDE or overlap < STRIDE:
        raise ValueError(
            f"Invalid value for argument `overlap`: expected a multiple of {STRIDE} from {STRIDE} "
            f"up, received {overlap}."
        )
    return int(overlap)
