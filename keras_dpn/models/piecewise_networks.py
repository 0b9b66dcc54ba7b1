"""The networks of a PiecewiseCRF's potentials, and mean field on their logits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dpn.layers import EdgeMeanField, PairwisePotential, RangeBoxGraph
from keras_dpn.models.piecewise_size import map_size, scaled
from keras_dpn.models.vgg16 import BLOCKS, vgg16_blocks, vgg16_conv
from keras_dpn.ops.edge_marginals import mean_edge_marginals
from keras_dpn.ops.resize import resize
from keras_dpn.ops.resize_nearest import resize_nearest
from keras_dpn.typing import Tensor


def unary_potential(images: Sequence[Tensor], config: Mapping[str, Any]) -> Tensor:
    """Return the logits `(B, h, w, L)` of the unary potential's network."""
    x = potential_features("unary", images, config)
    x = vgg16_conv("unary_fc1", config["units"], 1, width=config["width"])(x)
    # As in PairwisePotential: this makes the first logits about 1.
    small = keras.initializers.RandomNormal(stddev=1e-3)
    return layers.Conv2D(
        config["num_classes"], 1, kernel_initializer=small, dtype="float32", name="unary_fc2"
    )(x)


def pairwise_potential(
    relation: str,
    box: str | Sequence[float],
    seed: int,
    images: Sequence[Tensor],
    config: Mapping[str, Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a relation's edges `(E, 2)`, which exist `(E,)`, and their logits `(B, E, L, L)`."""
    features = potential_features(relation, images, config)
    graph = RangeBoxGraph(box, config["num_neighbors"], seed, name=f"{relation}_graph")
    units = max(1, round(config["units"] * config["width"]))
    potential = PairwisePotential(config["num_classes"], units, name=f"{relation}_pairwise")
    edges, exist = graph(features)
    return edges, exist, potential((features, edges, exist))


def potential_features(
    potential: str, images: Sequence[Tensor], config: Mapping[str, Any]
) -> Tensor:
    """Return features `(B, h, w, C)` of a potential's network, from all scales of the image."""
    num_blocks, width = config["num_blocks"], config["width"]
    backbone = _network(
        f"{potential}_vgg16",
        lambda x: list(vgg16_blocks(x, width=width, strides=(2,) * num_blocks).values())[-1],
        channels=images[0].shape[-1],
        model_class=Recomputed if config["checkpointing"] else keras.Model,
    )
    maps = []
    for i, x in enumerate(images, start=1):
        x = backbone(x)
        block6 = _network(f"{potential}_block6_scale{i}", lambda x: _block6(x, config), x.shape[-1])
        maps.append(block6(x))
    largest = maps[_largest(config["scales"])]
    for i, x in enumerate(maps):
        if x is not largest:
            maps[i] = EnlargeNearest(name=f"{potential}_enlarge_scale{i + 1}")((x, largest))
    return maps[0] if len(maps) == 1 else layers.Concatenate(name=f"{potential}_features")(maps)


def _largest(scales: Sequence[float]) -> int:
    return max(range(len(scales)), key=scales.__getitem__)


def _block6(x: Tensor, config: Mapping[str, Any]) -> Tensor:
    # The first is VGG16's fc6 where all of its blocks precede it.
    first = "b9" if config["num_blocks"] == len(BLOCKS) else "b9_conv1"
    for i, (kernel, channels) in enumerate(config["block6"], start=1):
        name = first if i == 1 else f"b9_conv{i}"
        x = vgg16_conv(name, channels, kernel, width=config["width"])(x)
    return x


def _network(
    name: str,
    build: Callable[[Tensor], Tensor],
    channels: int,
    model_class: type[keras.Model] = keras.Model,
) -> keras.Model:
    """Return a nested model with the layers that `build` adds; its name prefixes their weights."""
    with keras.name_scope(name):
        x = keras.Input((None, None, channels))
        return model_class(x, build(x), name=name)


@keras.saving.register_keras_serializable(package="keras_dpn")
class Recomputed(keras.Model):
    """A functional model that recomputes its activations for the gradients."""

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        weights, forward = self.weights, super().call

        def run(x: Tensor, *values: Tensor) -> Tensor:
            with keras.StatelessScope(list(zip(weights, values, strict=True))):
                return forward(x, training=training)

        # The weights are arguments: in TensorFlow's graphs, gradients reach no others.
        return keras.remat(run)(inputs, *map(ops.convert_to_tensor, weights))


def infer(
    unary: Tensor,
    potentials: Sequence[tuple[Tensor, Tensor, Tensor]],
    config: Mapping[str, Any],
    has_unary: bool,
    name: str | None = None,
) -> Tensor:
    """Return logits `(B, h, w, L)` of the marginals, by mean field or as a mean.

    Args:
        unary: `(B, h, w, L)`, zeros without a unary potential.
        potentials: triples (edges, exist, pairwise), one per relation.
        config: the network's arguments.
        has_unary: whether there is a unary potential.
        name: of the layer.
    """
    if not potentials:
        return unary
    edges, exist, pairwise = (list(tensors) for tensors in zip(*potentials, strict=True))
    if config["aggregation"] == "mean":
        return MeanOfMarginals(has_unary, name=name)((unary, edges, exist, pairwise))
    return EdgeMeanField(config["num_iterations"], config["damping"], name=name)(
        (unary, edges, pairwise)
    )


@keras.saving.register_keras_serializable(package="keras_dpn")
class ScaleImage(layers.Layer):
    """Resize images bilinearly by a factor, their sides rounded; float32."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.scale = scale

    def call(self, image: Tensor) -> Tensor:
        return resize(image, [scaled(n, self.scale) for n in ops.shape(image)[1:3]])

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        size = (scaled(n, self.scale) for n in image.shape[1:3])
        return keras.KerasTensor((image.shape[0], *size, image.shape[3]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="keras_dpn")
class EnlargeNearest(layers.Layer):
    """Resize a map to the size of another, the second of the pair, by nearest neighbour."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, reference = inputs
        return resize_nearest(x, ops.shape(reference)[1:3])

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        x, reference = inputs
        return keras.KerasTensor((*reference.shape[:3], x.shape[3]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class MeanOfMarginals(layers.Layer):
    """Logits of the mean of the potentials' own marginals: the unary ones, and each relation's."""

    def __init__(self, has_unary: bool, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.has_unary = has_unary

    def call(self, inputs: Sequence[Any]) -> Tensor:
        unary, *relations = inputs
        shape = ops.shape(unary)  # (B, h, w, L)
        flat = ops.cast(ops.reshape(unary, (shape[0], shape[1] * shape[2], shape[3])), "float32")
        total = ops.softmax(flat, axis=-1) if self.has_unary else ops.zeros_like(flat)
        count = ops.ones_like(flat[..., :1]) * float(self.has_unary)
        for edges, exist, pairwise in zip(*relations, strict=True):
            mean, counted = mean_edge_marginals(edges, exist, pairwise, shape[1] * shape[2])
            total, count = total + mean, count + counted
        uniform = ops.ones_like(total) / shape[3]
        marginals = ops.where(count > 0, total / ops.maximum(count, 1.0), uniform)
        return ops.reshape(ops.log(ops.maximum(marginals, 1e-30)), shape)

    def compute_output_spec(self, inputs: Sequence[Any]) -> keras.KerasTensor:
        return keras.KerasTensor(inputs[0].shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "has_unary": self.has_unary}


@keras.saving.register_keras_serializable(package="keras_dpn")
class NoUnary(layers.Layer):
    """The unary map of a field without one: zeros `(B, h, w, L)` for images `(B, H, W, 3)`."""

    def __init__(
        self, num_classes: int, scales: Sequence[float], num_blocks: int, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.num_classes = num_classes
        self.scales = scales
        self.num_blocks = num_blocks

    def call(self, image: Tensor) -> Tensor:
        batch, height, width = ops.shape(image)[:3]
        size = map_size(height, width, self.scales, self.num_blocks)
        return ops.zeros((batch, *size, self.num_classes), dtype="float32")

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        height, width = image.shape[1:3]
        size = map_size(height, width, self.scales, self.num_blocks)
        return keras.KerasTensor((image.shape[0], *size, self.num_classes), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in ("num_classes", "scales", "num_blocks")}
        return {**super().get_config(), **own}
