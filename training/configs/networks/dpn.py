"""Training of the Deep Parsing Network: its arguments and stages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..schema import Stage, StageConfig, TrainConfig


@dataclass(frozen=True)
class BackboneConfig:
    """VGG16 as a feature extractor."""

    name: Literal["vgg16", "large_fov"] = "vgg16"
    """vgg16 (fc6 7x7, 4096 channels), or large_fov, DeepLab's (fc6 3x3 with dilation 12, 1024)."""
    fc6_kernel: int | None = None
    """Kernel size of fc6, instead of the backbone's."""
    fc6_dilation: int | None = None
    """Dilation of fc6, instead of the backbone's."""
    fc_width: int | None = None
    """Channels of fc6 and fc7, before the width, instead of the backbone's."""
    keep_pools: bool = False
    """Keep the last two pools of VGG16, as 3x3 with stride 1."""
    pool_size: int = 2
    """Window of the first three pools."""
    output_stride: Literal[8, 16] = 8
    """Pixels per axis between two cells of the last features; 16 takes a quarter of the time."""
    skips: tuple[Literal["conv4", "conv3", "conv2"], ...] = ()
    """Earlier layers whose finer features are added to the last ones, coarse to fine."""
    skip_width: int = 96
    """Channels of the features where skips are added, before the width."""


@dataclass(frozen=True)
class LocalConvConfig:
    """The triple penalty (b12)."""

    window: int = 50
    """Window, in pixels of the grid of the pairwise part."""
    kernel: Literal["squared_distance", "gaussian", "learned"] = "squared_distance"
    """How colours and positions are compared; learned: one untied filter per position, for images
    of one size (--data.resize). It takes memory for the window of each position: a coarse grid."""
    gate: bool = True
    """Multiply with the label's probability at the pixel itself."""
    color_weight: float = 1.0
    """Initial weight of the distance between colours."""
    position_weight: float = 0.0
    """Initial weight of the distance between positions."""
    scale: float = 1.0
    """Initial factor of the penalty."""


@dataclass(frozen=True)
class ContextsConfig:
    """The label contexts (b13)."""

    window: int = 9
    """Window of the filters."""
    mixtures: int = 5
    """Filters per label."""
    noise: float = 0.01
    """Standard deviation of the initial filters around the identity."""


@dataclass(frozen=True)
class DPNConfig:
    """The network: arguments of `keras_dpn.models.DPN`, which explains them."""

    width: float = 1.0
    """Factor on the backbone's numbers of channels."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """VGG16 as a feature extractor."""
    unary_activation: Literal["softmax", "sigmoid"] = "softmax"
    """Activation of the unary term: the author's later code, or the paper's legend."""
    pairwise: Literal["triple", "contexts"] | None = "contexts"
    """The pairwise part: none, only the triple penalty, or label contexts after it."""
    local_conv: LocalConvConfig = field(default_factory=LocalConvConfig)
    """The triple penalty (b12)."""
    contexts: ContextsConfig = field(default_factory=ContextsConfig)
    """The label contexts (b13)."""
    color_unit: float = 32.0
    """The unit in which the triple penalty compares colours, in intensity levels of 0-255."""
    num_iterations: int = 1
    """Mean-field updates, with shared weights."""
    pairwise_stride: Literal[1, 2, 4, 8] = 1
    """The pairwise part works on a grid that is N times coarser than the image."""
    dropout: float = 0.5
    """Dropout rate after fc6 and fc7."""
    global_context: bool = False
    """Classify the mean of the last features over the image, too, and add the scores."""

    def summary(self, frames: str = "") -> Iterator[str]:
        """Yield the network in a few words each; windows over time begin with `frames`."""
        yield f"{self.backbone.name} backbone, width {self.width}"
        yield from self._clips()
        if self.global_context:
            yield "global context"
        if self.pairwise:
            window = self.local_conv.window
            yield f"triple penalty {frames}{window}×{window}"
        if self.pairwise == "contexts":
            n, mixtures = self.contexts.window, self.contexts.mixtures
            yield f"label contexts {frames}{n}×{n}, {mixtures} mixtures"

    def _clips(self) -> Iterator[str]:
        yield from ()


@dataclass(frozen=True)
class DPNTrainConfig(TrainConfig):
    """Training of the Deep Parsing Network in the paper's four stages (ICCV 2015, sec. 3.3)."""

    network: ClassVar[str] = "DPN"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("unary", head="unary", trainable=r"b([1-9]|10|11)(_.*)?|pool6_norm"),
        Stage("triple", head="triple", trainable="b12"),
        Stage("contexts", head="contexts", trainable="b13"),
        Stage("joint", head="final", trainable=".*"),
        Stage("finish", head="final", trainable=".*"),
    )

    model: DPNConfig = field(default_factory=DPNConfig)
    """The network."""
    unary: StageConfig = field(default_factory=StageConfig)
    """Stage 1: trains b1-b11, with the loss on b11."""
    triple: StageConfig = field(default_factory=StageConfig)
    """Stage 2: trains b12, with the loss on ln o11 - o12."""
    contexts: StageConfig = field(default_factory=StageConfig)
    """Stage 3: trains b13, with the loss on ln o11 - o14."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Stage 4: trains all layers; alone it is the joint-from-the-start baseline."""
    finish: StageConfig = field(default_factory=StageConfig)
    """Trains all layers further, with another rate and loss than the joint stage; not in the
    paper."""

    def check(self) -> None:
        needed = {"triple": ("triple", "contexts"), "contexts": ("contexts",)}
        for stage, pairwise in needed.items():
            if self.stage(stage).is_trained and self.model.pairwise not in pairwise:
                raise ValueError(
                    f"Stage {stage} needs model.pairwise of {' or '.join(pairwise)}, received "
                    f"{self.model.pairwise}; leave it out with --{stage}.epochs 0."
                )
        if self.model.local_conv.kernel == "learned" and self.data.resize is None:
            raise ValueError(
                "--model.local-conv.kernel learned needs images of one size: --data.resize H W "
                "--data.augmentation.crop H W."
            )
        super().check()
