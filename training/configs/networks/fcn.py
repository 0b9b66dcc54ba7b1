"""Training of fully convolutional networks: their arguments and their only stage."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..schema import Stage, StageConfig, TrainConfig
from .parsenet import normalization

Skip = Literal["pool6", "fc7", "conv5", "conv4", "conv3", "pool4", "pool3"]


@dataclass(frozen=True)
class FCNConfig:
    """The network: arguments of `keras_dpn.models.FCN`, which explains them."""

    skips: tuple[Skip, ...] = ("pool6", "fc7", "conv5", "conv4", "conv3")
    """Layers with a classifier of their own, whose scores are added."""
    normalize: bool = True
    """Scale the features of each layer to a learned length."""
    init_scale: float = 10.0
    """Initial value of that length."""
    padding: Literal["same", 100] = "same"
    """Padding of the image; 100 is the original's."""
    fc6_kernel: int = 7
    """Kernel size of fc6."""
    fc_width: int = 4096
    """Channels of fc6 and fc7, before the width."""
    width: float = 1.0
    """Factor on all numbers of channels."""
    dropout: float = 0.5
    """Dropout rate after fc6 and fc7."""

    def summary(self) -> Iterator[str]:
        """Yield the network in a few words each."""
        yield f"{' + '.join(self.skips)}, width {self.width}"
        yield normalization(self.normalize, self.init_scale)


@dataclass(frozen=True)
class FCNTrainConfig(TrainConfig):
    """Training of fully convolutional networks: all layers at once."""

    network: ClassVar[str] = "FCN"
    stages: ClassVar[tuple[Stage, ...]] = (Stage("final", head="final", trainable=".*"),)

    model: FCNConfig = field(default_factory=FCNConfig)
    """The network."""
    final: StageConfig = field(default_factory=StageConfig)
    """The only stage: trains all layers."""
