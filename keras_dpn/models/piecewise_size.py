"""The size of a PiecewiseCRF without building it: nodes, edges, weights, memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from keras_dpn.models.vgg16 import BLOCKS
from keras_dpn.ops.checks import check_positive_int, standardize_window
from keras_dpn.ops.range_boxes import box_neighbors

_NUMBERS_A_WEIGHT = 4  # value, gradient and the two moments of Adam, in float32
_EDGE_BYTES = 9  # two node indices, and whether the edge exists
_EDGE_COPIES = 3  # of each array per edge: itself, a copy for its gradient, its gradient


@dataclass(frozen=True)
class GraphSize:
    """The size of a graph, of its potential networks, and the memory of a training step."""

    map_size: tuple[int, int]
    """Height and width of the graph's map."""
    edges: dict[str, int]
    """Edges per image by relation, those of a training step if neighbours are sampled."""
    edge_bytes: int
    """Bytes of the arrays per edge, for the whole batch: node indices, first layer, logits."""
    parameters: int
    """Weights of all potential networks."""
    training_bytes: int
    """Estimated memory of a training step with Adam, without that of the program itself.

    The program and its libraries take about 1.2 GB with TensorFlow on a CPU.
    """

    @property
    def nodes(self) -> int:
        """Number of cells of the map."""
        return math.prod(self.map_size)

    def __str__(self) -> str:
        edges = ", ".join(f"{n:,} {relation}" for relation, n in self.edges.items()) or "none"
        return (
            f"graph: {self.nodes:,} nodes ({self.map_size[0]} x {self.map_size[1]}); edges: "
            f"{edges} ({self.edge_bytes / 1e6:,.1f} MB); {self.parameters / 1e6:,.1f} M weights; "
            f"training takes about {self.training_bytes / 1e9:,.1f} GB"
        )


def scaled(n: Any, scale: float) -> Any:
    """Return a scaled side, rounded, at least 1: an integer, a scalar tensor or None."""
    if n is None:
        return None
    # In integers, as float32 isn't exact enough: round to nearest, ties to even.
    p, q = Fraction(scale).limit_denominator(1000).as_integer_ratio()
    rounded, rest = (2 * n * p + q) // (2 * q), (2 * n * p + q) % (2 * q)
    if isinstance(n, int):
        return max(1, rounded - (rest == 0) * (rounded % 2))
    half = ops.cast(ops.equal(rest, 0), "int32")
    return ops.maximum(rounded - half * (rounded % 2), 1)


def map_size(height: Any, width: Any, scales: Sequence[float], num_blocks: int) -> tuple[Any, Any]:
    """Return the sides of the graph's map, that of the largest scale, for an image's sides.

    Example:

    >>> map_size(360, 480, scales=(1.2, 0.8, 0.4), num_blocks=5)
    (14, 18)
    """
    sides = (scaled(n, max(scales)) for n in (height, width))
    cell = 2**num_blocks
    rows, columns = (None if n is None else (n + cell - 1) // cell for n in sides)
    return rows, columns


def measure(
    config: Mapping[str, Any],
    boxes: Mapping[str, str | Sequence[float]],
    image_size: int | Sequence[int],
    batch_size: int,
) -> GraphSize:
    """Return the `GraphSize` of a training step.

    Args:
        config: arguments of `PiecewiseCRF`.
        boxes: the relations' boxes, by name.
        image_size: `(height, width)`.
        batch_size: images per step.

    Raises:
        ValueError: for images so small that a relation has no edge.
    """
    height, width = standardize_window(image_size, 2, "image_size")
    check_positive_int("batch_size", batch_size)
    size = map_size(height, width, config["scales"], config["num_blocks"])
    edges, entries = {}, 0
    for relation, box in boxes.items():
        try:
            exist = ops.convert_to_numpy(box_neighbors(*size, box)[1])  # (N, K)
        except ValueError as error:
            raise ValueError(
                f"Images of {height}x{width} have no edge {relation!r} to learn from: expected "
                f"larger ones. ({error})"
            ) from None
        drawn = min(config["num_neighbors"] or exist.shape[1], exist.shape[1])
        edges[relation] = int(exist.sum(axis=1).clip(max=drawn).sum())
        entries += len(exist) * drawn
    numbers = _channels(config["units"], config) + config["num_classes"] ** 2
    edge_bytes = entries * (_EDGE_BYTES + 4 * numbers * batch_size)
    parameters = count_parameters(config, len(boxes))
    activations = batch_size * _activations(config, len(boxes), height, width)
    itemsize = 4 if keras.config.dtype_policy().compute_dtype == "float32" else 2
    return GraphSize(
        map_size=size,
        edges=edges,
        edge_bytes=edge_bytes,
        parameters=parameters,
        training_bytes=4 * _NUMBERS_A_WEIGHT * parameters
        + itemsize * activations
        + _EDGE_COPIES * edge_bytes,
    )


def _activations(config: Mapping[str, Any], num_relations: int, height: int, width: int) -> int:
    """Return the activations of one image, kept for the gradients and temporary ones."""
    backbones, block6 = [], 0
    for scale in config["scales"]:
        sides = [scaled(n, scale) for n in (height, width)]
        backbone = 0
        for _, count, channels in BLOCKS[: config["num_blocks"]]:
            backbone += count * math.prod(sides) * _channels(channels, config)
            sides = [-(-n // 2) for n in sides]
            backbone += math.prod(sides) * _channels(channels, config)
        backbones.append(backbone)
        channels = sum(_channels(n, config) for _, n in config["block6"])
        block6 += math.prod(sides) * channels
    networks = config["unary"] + num_relations
    if config["checkpointing"]:
        return networks * block6 + 2 * max(
            backbones
        )  # one network's at a time, and their gradients
    first = math.prod(scaled(n, max(config["scales"])) for n in (height, width))
    return networks * (sum(backbones) + block6) + 2 * first * _channels(BLOCKS[0][2], config)


def count_parameters(config: Mapping[str, Any], num_relations: int) -> int:
    """Return the number of weights of a PiecewiseCRF.

    Args:
        config: arguments of `PiecewiseCRF`.
        num_relations: number of relations.
    """
    labels, units = config["num_classes"], _channels(config["units"], config)
    backbone, channels = _convolutions(3, _vgg16(config), config)
    block6, features = _convolutions(channels, config["block6"], config)
    features *= len(config["scales"])
    network = backbone + len(config["scales"]) * block6
    unary = network + (features + 1) * units + (units + 1) * labels
    pairwise = network + (2 * features + 1) * units + (units + 1) * labels**2
    return config["unary"] * unary + num_relations * pairwise


def _vgg16(config: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return kernels and channels of the blocks' convolutions."""
    blocks = BLOCKS[: config["num_blocks"]]
    return [(3, channels) for _, count, channels in blocks for _ in range(count)]


def _convolutions(
    channels: int, layers: Sequence[tuple[int, int]], config: Mapping[str, Any]
) -> tuple[int, int]:
    """Return the number of weights of a chain of (kernel, channels), and the last channels."""
    total = 0
    for kernel, n in layers:
        n = _channels(n, config)
        total += (kernel**2 * channels + 1) * n
        channels = n
    return total, channels


def _channels(n: int, config: Mapping[str, Any]) -> int:
    return max(1, round(n * config["width"]))
