"""Training of the Deep Parsing Network in four stages (ICCV 2015, sec. 3.3)."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from keras_dpn import models

from ..schema import Stage, StageConfig, TrainConfig


@dataclass(frozen=True)
class DPNConfig:
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
    global_context: bool = False
    output_stride: Literal[8, 16] = 8
    skips: tuple[Literal["conv4", "conv3", "conv2"], ...] = ()
    skip_width: int = 96


@dataclass(frozen=True)
class DPNTrainConfig(TrainConfig):
    """A whole run: the network, the data and four stages."""

    network: ClassVar = models.DPN
    stages: ClassVar = (
        Stage("unary", output="unary", learns=r"b([1-9]|10|11)(_.*)?|pool6_norm"),
        Stage("triple", output="triple", learns="b12"),
        Stage("contexts", output="contexts", learns="b13"),
        Stage("joint", output="final", learns=".*"),
        Stage("finish", output="final", learns=".*"),
    )

    model: DPNConfig = field(default_factory=DPNConfig)
    unary: StageConfig = field(default_factory=StageConfig)
    """Stage 1: b1-b11 learn, with the loss on b11."""
    triple: StageConfig = field(default_factory=StageConfig)
    """Stage 2: b12 learns, with the loss on ln o11 - o12."""
    contexts: StageConfig = field(default_factory=StageConfig)
    """Stage 3: b13 learns, with the loss on ln o11 - o14."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Stage 4: all learn; alone it is the joint-from-the-start baseline."""
    finish: StageConfig = field(default_factory=StageConfig)
    """All learn on, with another rate and loss than in the joint stage; not in the paper."""

    def check(self) -> None:
        needed = {"triple": ("triple", "contexts"), "contexts": ("contexts",)}
        for stage, pairwise in needed.items():
            if self.stage(stage).epochs and self.model.pairwise not in pairwise:
                raise ValueError(
                    f"Stage {stage} needs model.pairwise of {' or '.join(pairwise)}, received "
                    f"{self.model.pairwise}; leave it out with --{stage}.epochs 0."
                )
        super().check()
