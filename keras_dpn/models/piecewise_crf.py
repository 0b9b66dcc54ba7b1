"""CRF with networks as potentials, trained piecewise (Lin et al., arXiv:1504.01013)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras

from keras_dpn.deprecation import renamed_argument, warn_renamed
from keras_dpn.layers import MeanFieldCRF, Resize
from keras_dpn.models.piecewise_arguments import (
    check_piecewise_arguments,
    standardize_relations,
)
from keras_dpn.models.piecewise_learner import OBJECTIVES, PiecewiseLearner
from keras_dpn.models.piecewise_networks import (
    NoUnary,
    ScaleImage,
    infer,
    pairwise_potential,
    unary_potential,
)
from keras_dpn.models.piecewise_size import GraphSize, map_size, measure
from keras_dpn.models.staged import StagedModel, check_arguments, check_input_shape
from keras_dpn.models.vgg16 import Preprocess
from keras_dpn.ops.checks import check_one_of
from keras_dpn.typing import IgnoreLabel, Shape


@keras.saving.register_keras_serializable(package="keras_dpn")
class PiecewiseCRF(StagedModel):
    """A conditional random field of unary and general pairwise potentials, each a network.

    The CRF of "Efficient Piecewise Training of Deep Structured Models for Semantic Segmentation"
    (Lin et al., arXiv:1504.01013). It has a node for each cell of a feature map and, for every
    relation, edges from each node to those in a box next to it. A unary potential gives the logits
    of a node's L labels, a pairwise one those of an edge's L x L pairs of labels; the order of the
    two nodes matters, so that it can learn which class is above which. Mean field predicts from all
    of them.

    The potential networks have the same layers and share no weights. Each takes the image at
    several scales: blocks of VGG16 (shared by the scales) and a sixth block of convolutions (one
    per scale) compute feature maps; the smaller ones are upsampled to the size of the largest, the
    graph's, and concatenated; two fully connected layers compute the potential from a cell's
    features, or from those of an edge's two cells.

    Training needs no inference, see `learner`. Parameters at 21 classes, in millions:

    | scales | unary | each relation | unary and two relations |
    |---|---|---|---|
    | 1 | 139.0 | 139.5 | 417.9 |
    | 3 | 387.5 | 388.5 | 1164.5 |
    | 3, block 6 (3, 1024), (3, 512), (3, 512) | 50.9 | 51.9 | 154.7 |

    Args:
        num_classes: L, integer >= 2.
        scales: of the image, positive numbers.
        relations: names of the boxes that contain a node's neighbours, "surrounding", "above",
            "below", "left" or "right"; or a dictionary from other names, of letters and digits, to
            one of these or to a box (top, left, bottom, right) as fractions of the map's shorter
            side. Empty for none.
        unary: whether there is a unary potential.
        num_blocks: 1 to 5, the blocks of VGG16. A cell of the map is 2 ** num_blocks pixels of the
            scaled image wide.
        block6: (kernel, channels) of the sixth block's convolutions. After five blocks the first is
            VGG16's fc6; (7, 4096) as published, and smaller ones can be sampled from it.
        units: of the first fully connected layer.
        num_neighbors: how many neighbours of each node are sampled in each training step; None for
            all of them. Outside of training all are used.
        seed: of the sampling.
        num_iterations: mean-field updates of the prediction.
        damping: from 0 to below 1, the fraction of its old logits that a node keeps in an update.
        crf: None, or a dictionary of arguments of `keras_dpn.layers.MeanFieldCRF`, which then
            refines the field's logits on the image; `{}` for its defaults.
        width: factor on all numbers of channels and units.
        input_shape: `(height, width, channels)`; None for sizes that differ from image to image.
        checkpointing: whether to recompute the activations of VGG16's blocks for the gradients
            instead of storing them: training takes less memory and more time, for the same result.
        aggregation: how the potentials predict together. "sum": mean field, as published, which
            adds up the messages of all edges of a node. "mean": a node's marginals are the mean of
            the unary potential's and, for each relation, of the mean over its edges of the edge's
            own marginals; no iterations, and less overconfident, as an edge's neighbours see much
            the same pixels.

    Input shape:
        `(B, H, W, 3)`, RGB, 0-255, uint8 or float. Every side of a scaled image and of a map is
        rounded to at least 1, so that no map is empty, but a map of few cells may have no edges.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges; for no potential at all, a relation that
            does not exist or occurs twice, and invalid names; if the image's size is known, for a
            box smaller than a cell of the map, or without any edge on the map.

    Example:

    >>> small = {"num_blocks": 3, "block6": ((1, 64),), "width": 0.1}
    >>> model = PiecewiseCRF(num_classes=3, relations=("above",), **small)
    >>> model.output.shape
    (None, None, None, 3)
    >>> model.head_names
    ('unary', 'above', 'field', 'final')
    """

    def __init__(
        self,
        num_classes: int = 21,
        scales: Sequence[float] = (1.2, 0.8, 0.4),
        relations: Sequence[str] | Mapping[str, str | Sequence[float]] = ("surrounding", "above"),
        unary: bool = True,
        num_blocks: int = 5,
        block6: Sequence[Sequence[int]] = ((7, 4096), (3, 512), (3, 512)),
        units: int = 512,
        num_neighbors: int | None = None,
        seed: int = 0,
        num_iterations: int = 2,
        damping: float = 0.0,
        crf: dict[str, Any] | None = None,
        width: float = 1.0,
        input_shape: Shape = (None, None, 3),
        checkpointing: bool = False,
        aggregation: Literal["sum", "mean"] = "sum",
        name: str = "piecewise_crf",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        boxes = check_piecewise_arguments(config)
        check_input_shape(input_shape)

        # === Potentials ===
        image = keras.Input(input_shape, name="image")
        preprocess = Preprocess(name="preprocess")
        images = [
            preprocess(ScaleImage(scale, name=f"scale{i}")(image))
            for i, scale in enumerate(scales, start=1)
        ]
        no_unary = NoUnary(num_classes, scales, num_blocks, name="no_unary")(image)  # (B, h, w, L)
        unary_map = unary_potential(images, config) if unary else no_unary  # (B, h, w, L)
        potentials = {
            relation: pairwise_potential(relation, box, seed + i, images, config)
            for i, (relation, box) in enumerate(boxes.items())
        }  # (E, 2), (E,), (B, E, L, L)

        # === Inference ===
        maps = {"unary": unary_map} if unary else {}
        for relation, potential in potentials.items():
            maps[relation] = infer(
                no_unary, [potential], config, has_unary=False, name=f"{relation}_mean_field"
            )
        if len(maps) == 1:
            maps["field"] = next(iter(maps.values()))
        else:
            maps["field"] = infer(
                unary_map, list(potentials.values()), config, has_unary=unary, name="mean_field"
            )
        heads = {
            head: Resize(name=f"{head}_resize")((logits, image))  # (B, H, W, L)
            for head, logits in maps.items()
        }
        heads["final"] = heads["field"]
        if crf is not None:
            heads["final"] = MeanFieldCRF(**crf, name="crf")((heads["field"], image))

        # === Config ===
        super().__init__(image, heads, config)
        self._pairwise = potentials
        self._unary_maps = {"with": unary_map, "without": no_unary}

    @property
    def potentials(self) -> tuple[str, ...]:
        """Names of the potentials: "unary" if there is one, and the relations."""
        return self.head_names[: self.head_names.index("field")]

    @property
    def affinity_relations(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the relations, each a pairwise potential."""
        return tuple(self._pairwise)

    def affinity_model(self, relation: str) -> keras.Model:
        check_one_of("relation", relation, self.affinity_relations)
        _, exist, logits = self._pairwise[relation]
        return keras.Model(self.input, [exist, logits], name=f"{self.name}_{relation}_affinity")

    def has_head(self, head: str) -> bool:
        """Return whether `head_model` knows a name: a head, or potentials such as "unary+above"."""
        names = head.split("+")
        is_sum = len(set(names)) == len(names) > 1 and set(names) <= set(self.potentials)
        return is_sum or super().has_head(head)

    def head_model(self, head: str) -> keras.Model:
        """Return the network up to one head, as a model that shares this one's weights.

        Args:
            head: "unary" or a relation's name, the prediction from that potential alone: the unary
                logits, or mean field without a unary potential; several of these, such as
                "unary+above", mean field of those potentials; "field", of all of them; or "final",
                after the fully connected CRF if there is one.

        Returns:
            `keras.Model` from images to logits `(B, H, W, L)`, upsampled bilinearly from the map.

        Raises:
            ValueError: if the network has no such head.

        Example:

        >>> model = PiecewiseCRF(3, num_blocks=1, block6=((1, 8),), width=0.1)
        >>> model.head_model("unary+above").name
        'piecewise_crf_unary_above'
        """
        names = head.split("+")
        if len(names) == 1 or not self.has_head(head):
            return super().head_model(head)
        logits = self._potentials_and_field(names)["logits"]
        return keras.Model(self.input, logits, name=f"{self.name}_{'_'.join(names)}")

    @renamed_argument("pieces", "potentials")
    def learner(
        self,
        potentials: Sequence[str] | None = None,
        objective: Literal["piecewise", "pseudo_likelihood", "mean_field"] = "piecewise",
        ignore_label: IgnoreLabel = 255,
    ) -> PiecewiseLearner:
        """Return a model to fit: the potential networks with an objective, sharing their weights.

        Compile it with an optimiser and metrics, without a loss, and fit it on images and label
        maps `(B, H, W)`. A node has the label of the pixel at its centre: node (i, j) of a map of
        h x w takes pixel `(floor((i + 0.5) H / h), floor((j + 0.5) W / w))`. Nodes with the ignore
        label don't count, nor do their edges. Metrics get the logits `(B, H, W, L)` that the chosen
        potentials predict together.

        The piecewise loss, eq. 12, is the mean over the batch's nodes of the unary terms plus, for
        each relation, the mean over its edges. As no weights are shared, the sums of eq. 12 would
        only change the learning rate of each network, and training the potentials one after the
        other on the same batches equals training them together.

        Args:
            potentials: with the piecewise objective, names of the potentials to train; the networks
                of the others aren't computed. None for all.
            objective: "piecewise": each potential by itself. "pseudo_likelihood" (the paper's
                appendix): each node given its neighbours' true labels, mean over the nodes.
                "mean_field": cross-entropy of the field's marginals, mean over the nodes, through
                all `num_iterations`. The last two train the sum of the potentials, over the edges
                that a step samples: with `num_neighbors`, fewer than in prediction.
            ignore_label: label of pixels that don't count; None if all count.

        Returns:
            `keras.Model` from images to a dictionary of the potentials and "logits". Predict with
            the network itself.

        Raises:
            ValueError: for an unknown objective or potential, no potential, and some of them with
                another objective than "piecewise".

        Example:

        >>> model = PiecewiseCRF(3, relations=("above",), num_blocks=1, block6=((1, 8),), width=0.1)
        >>> learner = model.learner(("above",))
        >>> learner.compile("adam")  # then learner.fit(images, labels, ...)
        >>> sorted(learner.output)
        ['field', 'logits', 'relations', 'unary']
        """
        check_one_of("objective", objective, OBJECTIVES)
        potentials = self.potentials if potentials is None else tuple(potentials)
        if not potentials or not set(potentials) <= set(self.potentials):
            raise ValueError(
                "Invalid value for argument `potentials`: expected some of "
                f"{list(self.potentials)}, received {potentials}."
            )
        if objective != "piecewise" and set(potentials) != set(self.potentials):
            raise ValueError(
                "Invalid value for argument `potentials`: expected all with objective "
                f"{objective!r}, received {potentials}."
            )
        return PiecewiseLearner(
            self.input,
            self._potentials_and_field(potentials),
            potentials,
            objective,
            ignore_label,
            lambda height, width: map_size(height, width, self.scales, self.num_blocks),
            name=f"{self.name}_learner",
        )

    def start_relations_from_unary(self, relations: Sequence[str] | None = None) -> None:
        """Copy the features of the unary potential's network to those of pairwise potentials.

        Their networks have the same layers up to the fully connected ones. A pairwise potential
        learns in fewer steps from a trained unary potential's features than from VGG16's.

        Args:
            relations: names of the potentials that receive them; None for all.

        Raises:
            ValueError: without a unary potential, and for an unknown relation.
        """
        if "unary" not in self.potentials:
            raise ValueError("Expected a network with a unary potential, received one without.")
        for relation in self.affinity_relations if relations is None else relations:
            check_one_of("relations", relation, self.affinity_relations)
            for layer in self.layers:
                if layer.name == "unary_vgg16" or layer.name.startswith("unary_block6_scale"):
                    twin = self.get_layer(layer.name.replace("unary", relation, 1))
                    twin.set_weights(layer.get_weights())

    @property
    def pieces(self) -> tuple[str, ...]:
        """Deprecated, see `potentials`."""
        warn_renamed("pieces", "potentials")
        return self.potentials

    def __dir__(self) -> list[str]:
        # Keras reads every attribute of a model that it saves or loads.
        return [name for name in super().__dir__() if name != "pieces"]

    def _potentials_and_field(self, names: Sequence[str]) -> dict[str, Any]:
        """Return some potentials, zeros for the unary one unless it is chosen, and their field."""
        has_unary = "unary" in names
        unary = self._unary_maps["with" if has_unary else "without"]
        relations = {name: one for name, one in self._pairwise.items() if name in names}
        field = infer(unary, list(relations.values()), self._config, has_unary)
        logits = Resize()((field, self.input))
        return {"unary": unary, "relations": relations, "field": field, "logits": logits}

    def graph_size(self, height: int, width: int, batch_size: int = 1) -> GraphSize:
        """Return the size of the graph and of a training step; see `graph_size`.

        Raises:
            ValueError: for images so small that a relation has no edge to learn from. The network
                predicts them, without that relation.
        """
        boxes = standardize_relations(self._config["relations"])
        return measure(self._config, boxes, (height, width), batch_size)


def graph_size(image_size: int | Sequence[int], batch_size: int = 1, **arguments: Any) -> GraphSize:
    """Return the size of a `PiecewiseCRF` and of a training step, without building it.

    Args:
        image_size: `(height, width)` of the images.
        batch_size: images per step.
        **arguments: arguments of `PiecewiseCRF` that differ from its defaults.

    Returns:
        A `GraphSize`.

    Raises:
        TypeError, ValueError: as `PiecewiseCRF`, and for images so small that a relation has no
            edge to learn from.

    Example:

    >>> size = graph_size((360, 480), relations=("above",), num_neighbors=10)
    >>> size.map_size, size.edges
    ((14, 18), {'above': 2230})
    """
    check_arguments(PiecewiseCRF, arguments)
    bound = inspect.signature(PiecewiseCRF).bind(**arguments)
    bound.apply_defaults()
    boxes = check_piecewise_arguments(bound.arguments)
    return measure(bound.arguments, boxes, image_size, batch_size)
