"""Training of fully convolutional networks: all taps at once."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from keras_dpn import models

from ..schema import Stage, StageConfig, TrainConfig

Tap = Literal["pool6", "fc7", "conv5", "conv4", "conv3", "pool4", "pool3"]


@dataclass(frozen=True)
class FCNConfig:
    """The network: arguments of `keras_dpn.models.FCN`, which explains them."""

    taps: tuple[Tap, ...] = ("pool6", "fc7", "conv5", "conv4", "conv3")
    normalize: bool = True
    init_scale: float = 10.0
    padding: Literal["same", 100] = "same"
    fc6_kernel: int = 7
    fc_width: int = 4096
    width: float = 1.0
    dropout: float = 0.5


@dataclass(frozen=True)
class FCNTrainConfig(TrainConfig):
    """A whole run: the network, the data and one stage."""

    network: ClassVar = models.FCN
    stages: ClassVar = (Stage("final", output="final", learns=".*"),)

    model: FCNConfig = field(default_factory=FCNConfig)
    final: StageConfig = field(default_factory=StageConfig)
    """The only stage: all learn."""
