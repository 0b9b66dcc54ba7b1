"""Class scores from features and their global context (ParseNet), for all networks here."""

import functools
import operator
from collections.abc import Sequence
from typing import Literal

import keras
from keras import layers

from keras_dpn.layers import Dropout, GlobalContext, L2NormScale
from keras_dpn.ops.global_context import standardize_grid
from keras_dpn.typing import Tensor


def class_scores(
    b11: layers.Conv2D,
    features: Tensor,
    *,
    dropout: float,
    fusion: Literal["early", "late"] | None = None,
    normalize: bool = False,
    init_scale: float = 10.0,
    grid: int | Sequence[int] = 1,
    combine: Literal["concatenate", "conv"] = "concatenate",
) -> Tensor:
    """Return class scores of features, with or without their global context.

    The layers next to b11 are named `b10_norm`, `b10_dropout`, `pool6`, `pool6_norm` and
    `b11_context`; those of a grid of 2 `pool6_2x2`, `pool6_2x2_norm` and `b11_context_2x2`, and so
    on. Normalisation precedes dropout: in the other order, vectors would have other lengths in
    inference than in training.

    Args:
        b11: the classifier, a 1x1 convolution that has not been called yet.
        features: tensor of shape `(B, h, w, C)`.
        dropout: dropout rate of the local features, before the classifier; none for their means.
        fusion: None, the features alone; "early": the classifier takes the features
            concatenated with their means over the image; "late": the means have a separate
            classifier without a bias, and the scores are added.
        normalize: whether to scale features and means to a learned length each.
        init_scale: initial value of that length.
        grid: an integer, or several: means over the image (1), or over each of 2x2, 4x4, ...
            regions.
        combine: with early fusion, "concatenate"; or "conv": a 1x1 convolution with ReLU and C
            channels comes before the classifier (ParseNet, Table 7).

    Returns:
        Tensor of shape `(B, h, w, L)`.

    Raises:
        ValueError: if `grid` isn't an integer >= 1 or several different ones.
    """

    def normalized(x: Tensor, name: str) -> Tensor:
        return L2NormScale(init_scale, name=f"{name}_norm")(x) if normalize else x

    def context(size: int, unpool: bool) -> Tensor:
        name = "pool6" + _suffix(size)
        return normalized(GlobalContext(size, unpool=unpool, name=name)(features), name)

    sizes = _grid_sizes(grid)
    local = Dropout(dropout, name="b10_dropout")(normalized(features, "b10"))
    if fusion is None:
        return b11(local)
    if fusion == "early":
        x = [local, *(context(size, unpool=True) for size in sizes)]
        x = layers.Concatenate(name="b10_with_context")(x)
        if combine == "conv":
            x = layers.Conv2D(features.shape[-1], 1, activation="relu", name="b10_fusion")(x)
        return b11(x)
    scores = [b11(local)]
    for size in sizes:
        # The vector of a whole image isn't repeated: its scores are added to those of every cell.
        x = context(size, unpool=size > 1)
        name = "b11_context" + _suffix(size)
        scores.append(layers.Conv2D(b11.filters, 1, use_bias=False, dtype="float32", name=name)(x))
    return AddContext(dtype="float32", name="b11_sum")(scores)


@keras.saving.register_keras_serializable(package="keras_dpn")
class AddContext(layers.Add):
    """Add the scores of regions to those of each cell.

    `keras.ops.add` takes `(B, 1, 1, L)` for a bias on TensorFlow, which fails for an empty batch
    (Keras 3.15.1).
    """

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(operator.add, inputs)


def _suffix(size: int) -> str:
    return "" if size == 1 else f"_{size}x{size}"


def _grid_sizes(grid: int | Sequence[int]) -> tuple[int, ...]:
    sizes = standardize_grid(grid)
    if len(set(sizes)) < len(sizes):
        raise ValueError(
            "Invalid value for argument `grid`: expected an integer or several different ones, "
            f"received {grid!r}."
        )
    return sizes
